"""One training step of a run, rebuilt from its folder: model, optimiser, batch, and the graph of its loss."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from minibert.backend import Array, device_of, to_device
from minibert.debug.replaying.rebuild import rebuild
from minibert.errors import InputError
from minibert.models.pretraining import BertForPreTraining, PreTrainingOutput
from minibert.ops.loss import IGNORE_INDEX
from minibert.optim import AdamW, warmup_linear
from minibert.tensor import Tensor
from minibert.train.lanes import cut_batch, single_threaded_blas
from minibert.train.pretrain import Loaded


@dataclass
class TrainingStep:
    """Everything as it was just before step `number` (1, 2, ...) was computed; optimizer.lr is that of the step.

    origin: the saved state it comes from, in words.
    """

    loaded: Loaded
    model: BertForPreTraining
    optimizer: AdamW
    number: int
    batch: dict[str, Array]
    origin: str = ""

    def parts(self) -> list[tuple[int, dict[str, Array]]]:
        """The micro-batches in which the run computes this batch, each with the number of its first example."""
        size = self.loaded.settings.micro_batch
        assert size is not None
        return list(cut_batch(self.batch, size))

    def output(self, row: int, part: dict[str, Array]) -> PreTrainingOutput:
        """What the model makes of a part of the batch, as in training: the parts' losses add up."""
        counts = {"masked_count": int((self.batch["labels"] != IGNORE_INDEX).sum()),
                  "pair_count": len(self.batch["input_ids"])}
        stream = self.model.bert.dropout_stream
        assert stream is not None
        stream.seek(self.number - 1, row)
        with single_threaded_blas():
            output: PreTrainingOutput = self.model.train()(**part, **counts, labelled_only=True)
        return output

    def loss(self, row: int, part: dict[str, Array]) -> Tensor:
        """The loss of a part of the batch, with its graph."""
        loss = self.output(row, part).loss
        assert loss is not None
        return loss

    def state(self) -> dict[str, Array]:
        """Weights and both moments: the arrays themselves, by the names they have in a saved training state."""
        names = [name for name, _ in self.model.named_parameters()]
        columns = {"weight": [p.data for p in self.optimizer.parameters], "m": self.optimizer.m, "v": self.optimizer.v}
        return {f"{kind}.{name}": array for kind, arrays in columns.items()
                for name, array in zip(names, arrays, strict=True)}

    @property
    def device(self) -> str:
        """"cpu" or "cuda"."""
        return device_of(self.optimizer.parameters[0].data)

    def to(self, device: str) -> Self:
        """Compute it on "cpu" or "cuda" from now on; the batch stays on the host."""
        self.model.to(device)
        for moments in (self.optimizer.m, self.optimizer.v):
            moments[:] = [to_device(x, device) for x in moments]
        return self

    def copy(self) -> "TrainingStep":
        """The same step in arrays of its own, to be changed or trained on."""
        model, optimizer = copy.deepcopy((self.model, self.optimizer))
        batch = {name: array.copy() for name, array in self.batch.items()}
        return replace(self, model=model, optimizer=optimizer, batch=batch)


def load_step(folder: Path, number: int | None = None, device: str = "cpu") -> TrainingStep:
    """Step `number` of a run that has finished, stopped or crashed, before it is computed: see `rebuild`.

    By default the step that follows the last save, also of a run that has reached its end.
    Raises InputError when the run has no such step, or when the folder holds no run, or a damaged one.
    """
    loaded = Loaded.read(folder)
    s = loaded.settings
    if number is not None and not 1 <= number <= s.steps:
        raise InputError(f"{folder} has no step {number}: its steps are 1 .. {s.steps}")
    model, optimizer, origin = rebuild(loaded, number, device)
    number = optimizer.steps + 1
    optimizer.lr = warmup_linear(number, s.peak_lr(model.config), s.warmup, s.steps)
    return TrainingStep(loaded, model, optimizer, number, loaded.batches().batch(number - 1), origin)
