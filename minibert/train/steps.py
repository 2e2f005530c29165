"""Taking training steps on the CPU, each one done when it is asked for."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from minibert.backend import Array
from minibert.models.pretraining import BertForPreTraining
from minibert.optim import AdamW, clip_scale, gradient_norm
from minibert.train.black_box import BlackBox, StepRecord
from minibert.train.evaluation import Evaluation, evaluate
from minibert.train.lanes import Lanes, Sums, single_threaded_blas
from minibert.train.settings import PretrainSettings


@dataclass(frozen=True)
class Finished:
    """What became of a step."""

    record: StepRecord
    sums: Sums
    tokens: int


class HostSteps:
    """Updates of the weights by the threads of the CPU; see `minibert.train.lanes`."""

    def __init__(self, settings: PretrainSettings, model: BertForPreTraining, optimizer: AdamW, black_box: BlackBox,
                 threads: int) -> None:
        assert settings.micro_batch is not None  # a run decides it when it begins
        self.settings, self.model, self.optimizer, self.black_box = settings, model, optimizer, black_box
        self.lanes = Lanes(model, threads, settings.micro_batch)
        self._finished: list[Finished] = []
        self._closing = ExitStack()
        self._closing.callback(self.lanes.close)
        self._closing.enter_context(single_threaded_blas())

    def take(self, batch: dict[str, Array], number: int, lr: float) -> None:
        """One update of the weights, with batch `number`.  Raises Diverged when it must not be made."""
        limit = self.black_box.limit()
        sums = self.lanes.gradients(batch, number)
        norm = gradient_norm(self.optimizer.parameters, self.lanes.map)
        clip = clip_scale(norm, self.settings.clip)
        record = StepRecord(number + 1, number, sums.masked_loss, sums.pair_loss, norm, lr, clip)
        self.black_box.watch(record, limit)
        self.optimizer.lr = lr
        self.optimizer.step(clip, self.lanes.map)
        self.optimizer.zero_grad()
        self._finished.append(Finished(record, sums, int(batch["attention_mask"].sum())))

    def finished(self) -> list[Finished]:
        """The steps taken since this was last asked."""
        finished, self._finished = self._finished, []
        return finished

    def evaluate(self, batches: Sequence[dict[str, Array]]) -> Evaluation:
        """Numbers on these batches, with the weights of now."""
        return evaluate(self.model, batches, self.lanes)

    def soon(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """function(*args), computed beside the steps."""
        return self.lanes.pool.submit(function, *args)

    def close(self) -> None:
        """End the threads, and give BLAS its own back."""
        self._closing.close()
