"""Time travel: any step of a run again, bit for bit, with every number it computes; or with something changed.

On another device than that of the run, the numbers are the same but for rounding.

    step = replay("runs/pretrain-1", 4312)
    timeline = step.run()                                    # forward, backward, clipping, AdamW, all recorded
    print(compare(timeline, step.changed(Token(2, 5, "list")).run()))
"""

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path

from minibert.backend import Array, choose_device, to_host
from minibert.debug.html import FONT
from minibert.debug.replaying.change import Change, in_words
from minibert.debug.replaying.text import summary
from minibert.debug.replaying.timeline import GRADIENT, UPDATE, Recorder, Timeline
from minibert.debug.replaying.training_step import TrainingStep, load_step
from minibert.debug.replaying.verification import verify
from minibert.nn.module import Parameter
from minibert.optim import AdamW, clip_scale, gradient_norm
from minibert.tensor import Tensor
from minibert.train.lanes import single_threaded_blas, tally


def replay(folder: Path | str, number: int | None = None, change: Change | Sequence[Change] = (),
           device: str = "cpu") -> "Replay":
    """Step `number` of the run in `folder` (by default the one after the last save), ready to be computed again.

    change: functions that change the TrainingStep before that, such as those of `minibert.debug.replaying.change`.
    device: "cpu", "cuda" or "auto", where the step, and those before it that are trained again, are computed.
    Raises InputError when the run has no such step, is damaged, or cannot be changed so.
    """
    changes = (change,) if callable(change) else tuple(change)
    device = choose_device(device)  # what cannot be is said before anything is read
    return Replay(load_step(Path(folder), number, device)).changed(*changes)


class Replay:
    """A step of a run that can be computed as often as you like: nothing in `step` is changed by that.

    changes: what makes it another step than that of the run, in words.
    """

    def __init__(self, step: TrainingStep, changes: tuple[str, ...] = ()) -> None:
        self.step, self.changes = step, changes

    @cached_property
    def parts(self) -> list[Tensor]:
        """The loss of each micro-batch, with its graph; they add up to the loss of the step."""
        return [self.step.loss(row, part) for row, part in self.step.parts()]

    def changed(self, *changes: Change) -> "Replay":
        """The same step with these changes, one after the other; this one stays as it is."""
        if not changes:
            return self
        step = self.step.copy()
        for change in changes:
            change(step)
        return Replay(step, self.changes + tuple(map(in_words, changes)))

    def __str__(self) -> str:
        return summary(self.step, self.run(keep=False), 80, colour=False)

    def _repr_html_(self) -> str:
        return f'<pre style="{FONT}">{escape(str(self))}</pre>'

    def run(self, keep: bool = True) -> Timeline:
        """Compute the whole step, and compare its numbers with those of the training loop and of the run.

        keep: whether the records keep their arrays, which take several times the memory of training; or norms alone.
        Raises AssertionError when the training loop computes other bits.
        """
        timeline = Timeline(self.step.number, changes=self.changes, device=self.step.device)
        recorder = Recorder(timeline, keep)
        with single_threaded_blas():
            totals = self._gradients(recorder)
            optimizer = with_own_arrays(self.step.optimizer)
            for (name, _), p, twin in zip(self.step.model.named_parameters(), self.step.optimizer.parameters,
                                          optimizer.parameters, strict=True):
                twin.name, twin.grad = name, totals.get(p)
                if twin.grad is not None:
                    recorder.add(GRADIENT, name, {"gradient": twin.grad})
            timeline.norm = gradient_norm(optimizer.parameters)
            recorder.add(GRADIENT, "norm", {"norm": timeline.norm})
            if math.isfinite(timeline.sums.masked_loss + timeline.sums.pair_loss + timeline.norm):
                self._update(optimizer, recorder)
        timeline.verified = f"not verified: changed by {', '.join(self.changes)}" if self.changes else (
            verify(self.step, timeline))
        return timeline

    def _gradients(self, recorder: Recorder) -> dict[Tensor, Array]:
        """Every micro-batch forward and backward; the gradients are added up in their order, as `Lanes` does."""
        totals: dict[Tensor, Array] = {}

        def collect(p: Tensor, gradient: Array, free: bool) -> None:
            if p in totals:
                totals[p] += gradient
            else:
                totals[p] = gradient.copy()

        sums = []
        for number, (row, part) in enumerate(self.step.parts()):
            output = self.step.output(row, part)
            assert output.loss is not None
            sums.append(tally(output, part))
            recorder.watch(output.loss, number)
            output.loss.backward(collect=collect)
        recorder.timeline.sums = sum(sums[1:], sums[0])
        return totals

    def _update(self, optimizer: AdamW, recorder: Recorder) -> None:
        """Clipping, and AdamW's update of every parameter."""
        timeline, before = recorder.timeline, self.step.optimizer.parameters
        timeline.scale, timeline.lr = clip_scale(timeline.norm, self.step.loaded.settings.clip), optimizer.lr
        recorder.add(GRADIENT, "clip factor", {"scale": timeline.scale})
        recorder.add(UPDATE, "learning rate", {"lr": timeline.lr})
        optimizer.step(timeline.scale)
        for old, p, m, v in zip(before, optimizer.parameters, optimizer.m, optimizer.v, strict=True):
            timeline.after |= {f"weight.{p.name}": to_host(p.data), f"m.{p.name}": to_host(m),
                               f"v.{p.name}": to_host(v)}
            recorder.add(UPDATE, p.name, {"m": m, "v": v, "update": p.data - old.data, "weight": p.data})


def with_own_arrays(optimizer: AdamW) -> AdamW:
    """An optimiser with the same settings and numbers, whose steps leave the other's parameters alone."""
    twin = copy.copy(optimizer)
    twin.parameters = [Parameter(p.data.copy(), p.decay) for p in optimizer.parameters]
    twin.m, twin.v = ([x.copy() for x in moments] for moments in (optimizer.m, optimizer.v))
    return twin
