"""The training loop."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing

import numpy as np
from tqdm import tqdm

from minibert.backend import Array, device_of
from minibert.models.pretraining import BertForPreTraining
from minibert.optim import AdamW, warmup_linear
from minibert.text.batches import PretrainingBatches
from minibert.train.black_box import BlackBox
from minibert.train.checkpoint import save_checkpoint
from minibert.train.device_steps import DeviceSteps
from minibert.train.evaluation import Evaluation, summarise
from minibert.train.interrupts import Interrupts
from minibert.train.run import RunFolder
from minibert.train.settings import PretrainSettings
from minibert.train.steps import Finished, HostSteps

LOG_EVERY = 10  # steps whose means make one record of the log


class Trainer:
    """Trains a model on the batches of a run, from wherever the optimiser stands to the last step."""

    def __init__(self, run: RunFolder, settings: PretrainSettings, model: BertForPreTraining, optimizer: AdamW,
                 batches: PretrainingBatches, held_out: Sequence[dict[str, Array]], threads: int) -> None:
        self.run, self.settings, self.model, self.optimizer = run, settings, model, optimizer
        self.batches, self.held_out = batches, held_out
        black_box = BlackBox(run, settings, model, optimizer)
        self.steps: HostSteps | DeviceSteps
        if device_of(optimizer.parameters[0].data) == "cpu":
            self.steps = HostSteps(settings, model, optimizer, black_box, threads)
        else:
            self.steps = DeviceSteps(settings, model, optimizer, black_box)
        self.recent: list[Finished] = []  # the steps to be logged
        self.prepared: dict[int, Future[dict[str, Array]]] = {}  # the batch of the next step
        self.clock = time.perf_counter()
        self.shown = ""

    def train(self) -> bool:
        """Train to the end, or until Ctrl-C.  Saves in both cases; True when the end was reached.

        Raises Diverged when a loss or gradient is not a number, or the gradient is far longer than usual; the last
        save is kept then, and the run has a black box.
        """
        s = self.settings
        first = self.optimizer.steps
        self.model.train()
        with closing(self.steps), Interrupts() as interrupts, _progress_bar(first, s.steps) as bar:
            self.clock = time.perf_counter()
            while self.optimizer.steps < s.steps and not interrupts.requested:
                self.step()
                self._after_step(bar)
            if self.optimizer.steps % s.save_every or self.optimizer.steps == 0:
                self.save()
        return self.optimizer.steps == s.steps

    def step(self) -> None:
        """One update of the weights; on a GPU it is only asked for."""
        s, number = self.settings, self.optimizer.steps
        self.steps.take(self._batch(number), number, warmup_linear(number + 1, s.peak_lr(self.model.config), s.warmup,
                                                                   s.steps))

    def _batch(self, number: int) -> dict[str, Array]:
        """The batch of a step, made while the step before was computed; meanwhile the next one is made."""
        prepared = self.prepared.pop(number, None)
        if number + 1 < self.settings.steps:
            self.prepared[number + 1] = self.steps.soon(self.batches.batch, number + 1)
        return prepared.result() if prepared else self.batches.batch(number)

    def _after_step(self, bar: tqdm) -> None:
        """Log, evaluate and save when it is time to."""
        s, step = self.settings, self.optimizer.steps
        bar.update()
        if step % LOG_EVERY == 0 or step == s.steps:
            bar.set_postfix_str(self._log(), refresh=False)
        if step % s.eval_every == 0 or step == s.steps:
            held_out = self.evaluate()
            self.shown = f", held-out perplexity {held_out.perplexity:.0f}"
            self.clock = time.perf_counter()
        if step % s.save_every == 0:
            self.save()

    def _log(self) -> str:
        """Record the means of the last steps, and put them in words for the progress bar."""
        self.settle()
        now, count = time.perf_counter(), len(self.recent)
        sums, norms = [step.sums for step in self.recent], [step.record.gradient_norm for step in self.recent]
        mean = summarise(sum(sums[1:], sums[0]))
        masked_loss, pair_loss = mean.masked_loss / count, mean.pair_loss / count
        speed = sum(step.tokens for step in self.recent) / (now - self.clock)
        self.run.metrics.append(
            step=self.optimizer.steps, masked_loss=masked_loss, pair_loss=pair_loss, lr=self.optimizer.lr,
            masked_accuracy=mean.masked_accuracy, pair_accuracy=mean.pair_accuracy,
            gradient_norm=float(np.mean(norms)), tokens_per_second=round(speed))
        self.recent, self.clock = [], now
        return (f"loss {masked_loss + pair_loss:.2f}, masked {mean.masked_accuracy:.0%}, "
                f"next {mean.pair_accuracy:.0%}, {speed / 1000:.1f}k tok/s{self.shown}")

    def settle(self) -> None:
        """Wait for the steps that were asked for.  Raises Diverged when one of them had to fail."""
        self.recent += self.steps.finished()

    def evaluate(self) -> Evaluation:
        """Numbers on the held-out documents, logged."""
        self.settle()
        result = self.steps.evaluate(self.held_out)
        self.run.metrics.append(step=self.optimizer.steps, held_out=result.to_dict())
        return result

    def save(self) -> None:
        """Write the model that others read first, then the training state: a run killed in between does these steps
        again, and so ends with a model of its last step."""
        self.settle()
        self.model.save_pretrained(self.run.path)
        save_checkpoint(self.run.state, self.model, self.optimizer, self.settings.seed)


def _progress_bar(first: int, total: int) -> tqdm:
    """A bar with the time left; in a file or a pipe, a line every half minute."""
    bar = tqdm(total=total, initial=first, unit="step", dynamic_ncols=True, desc="pretrain",
               bar_format="{desc} {percentage:3.0f}%|{bar:8}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]")
    if not bar.fp.isatty():
        bar.mininterval = 30.0
    return bar
