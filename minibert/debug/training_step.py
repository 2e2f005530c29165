"""One training step of a run, rebuilt from its folder: model, optimiser, batch, and the graph of its loss."""

from dataclasses import dataclass
from pathlib import Path

from minibert.backend import Array
from minibert.models.pretraining import BertForPreTraining
from minibert.ops.loss import IGNORE_INDEX
from minibert.optim import AdamW
from minibert.tensor import Tensor
from minibert.train.checkpoint import load_checkpoint
from minibert.train.lanes import cut_batch
from minibert.train.pretrain import Loaded


@dataclass
class TrainingStep:
    """Everything as it was just before step `number` (1, 2, ...) was computed."""

    loaded: Loaded
    model: BertForPreTraining
    optimizer: AdamW
    number: int
    batch: dict[str, Array]

    def parts(self) -> list[tuple[int, dict[str, Array]]]:
        """The micro-batches in which the run computes this batch, each with the number of its first example."""
        size = self.loaded.settings.micro_batch
        assert size is not None
        return list(cut_batch(self.batch, size))

    def loss(self, row: int, part: dict[str, Array]) -> Tensor:
        """The loss of a part of the batch, with its graph, as in training: the parts' losses add up."""
        counts = {"masked_count": int((self.batch["labels"] != IGNORE_INDEX).sum()),
                  "pair_count": len(self.batch["input_ids"])}
        stream = self.model.bert.dropout_stream
        assert stream is not None
        stream.seek(self.number - 1, row)
        loss = self.model.train()(**part, **counts, labelled_only=True).loss
        assert loss is not None
        return loss


def load_step(folder: Path) -> TrainingStep:
    """The step that follows the last save of a run, also of one that has reached its end.

    Raises InputError when the folder holds no run, or a damaged one.
    """
    loaded = Loaded.read(folder)
    model, optimizer = loaded.begin()
    load_checkpoint(loaded.run.state, model, optimizer, loaded.settings.seed)
    return TrainingStep(loaded, model, optimizer, optimizer.steps + 1, loaded.batches().batch(optimizer.steps))
