"""Training on the GPU: the CPU's numbers, its own bits every time, on from any device to any, and safe from NaN."""

import itertools
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from train import tiny

from minibert.interop.safetensors import read_arrays
from minibert.train import pretrain as pretraining
from minibert.train.black_box import Diverged
from minibert.train.device_steps import UNREAD
from minibert.train.loop import Trainer
from minibert.train.pretrain import resume

from ..device_runs import SPOILED, prepared, spoiled, state, taken, trainer_of, with_nan
from .options import Options
from .page import Page

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {}, "whole batch": {"micro_batch": 10}, "no dropout": {"dropout": 0.0}, "pre-norm": {"norm": "pre"},
    "two layers, recomputed": {"layers": 2, "recompute": True}, "clipped": {"clip": 0.01},
    "mini": {"preset": "mini", "layers": None, "hidden": None, "heads": None}}
NUMBERS = ("masked_loss", "pair_loss", "gradient_norm", "lr", "clip")
NO_GRADIENT = "self.key.bias"  # but rounding, which Adam makes as long as any other update
STEP, STATE = 1e-4, 1e-2  # how far numbers of a step, and weights and moments after some, may be from the CPU's
LONG = 12  # steps


def training(page: Page, options: Options) -> None:
    """Everything that a run may go through, on a tiny corpus."""
    folder = Path.cwd()
    corpus = tiny.write_corpus(folder / "corpus.txt")
    new = (prepared(folder / f"run-{number}", corpus, **changes) for number, changes in enumerate(_changes(options)))
    with mock.patch.object(pretraining, "draw_curves", lambda *arguments: None):
        _as_the_cpu(page, options, new)
        for what, check in (("graphs and plain calls", _graphs), ("the same run twice", _twice),
                            ("stop and resume", _resume), ("a NaN", _nan)):
            with page.checking(what):
                check(page, next(new))
    page.sentence = "the CPU's numbers, graphs, determinism, resume, NaN"


def _changes(options: Options) -> Iterator[dict[str, Any]]:
    """Settings of the runs, in the order in which they are made."""
    yield from _variants(options).values()
    yield from ({"short_pairs": 0.6, "length": 40, "batch": 3, "micro_batch": 2}, {"dropout": 0.2},
                {"steps": 8, "save_every": 3, "eval_every": 8, "micro_batch": 10}, {"steps": 40, "micro_batch": 10})


def _variants(options: Options) -> dict[str, dict[str, Any]]:
    """The first is enough where a GPU is only imitated."""
    return dict(itertools.islice(VARIANTS.items(), 1 if options.small else None))


def _as_the_cpu(page: Page, options: Options, new: Iterator[Path]) -> None:
    """Step by step, in the order of the variants."""
    rows = []
    for name in _variants(options):
        run = next(new)
        with page.checking(f"{name}: steps as on the CPU"):
            here, there = (trainer_of(run, device) for device in ("cpu", "cuda"))
            pairs = list(zip(taken(there, 5), taken(here, 5), strict=True))
            worst = {n: max(_apart(getattr(mine.record, n), getattr(numpys.record, n)) for mine, numpys in pairs)
                     for n in NUMBERS}
            off = _furthest(state(there), state(here))
            rows.append([name, *(worst[n] for n in NUMBERS[:3]), *off])
            page.check(max(worst.values()) < STEP, f"{name}: numbers of a step are off by {worst}")
            page.check(off[0] < STATE, f"{name}: {off[1]} is off by {off[0]:.3g} after five steps")
    page.table(("run", *NUMBERS[:3], "weights and moments", "worst"), rows)
    page.note(f"Relative distances to the CPU over five steps; of weights and moments, to the largest number of each. "
              f"Below {STEP:g} and {STATE:g}. Key biases, whose gradient is rounding alone, are left out.")


def _apart(mine: float, other: float) -> float:
    return abs(mine - other) / max(abs(other), 1e-12)


def _furthest(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> tuple[float, str]:
    """How far weights and moments are from those expected, and which is furthest."""
    distances = {name: float(np.nan_to_num(np.abs(found[name] - numbers).max(), nan=np.inf)
                             / max(np.abs(numbers).max(), 1e-6))
                 for name, numbers in expected.items() if NO_GRADIENT not in name}
    worst = max(distances, key=lambda name: distances[name])
    return distances[worst], worst


def _same_bits(page: Page, what: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    different = [name for name, numbers in expected.items() if not np.array_equal(found[name], numbers)]
    page.check(not different, f"{what}: {len(different)} of {len(expected)} arrays differ, the first {different[:1]}, "
                              f"the furthest by {_furthest(found, expected)[0]:.3g}")


def _graphs(page: Page, run: Path) -> None:
    """Over batches of several layouts, and more steps than may stay unread."""
    graphs, plain = (trainer_of(run, "cuda", graphs) for graphs in (True, False))
    found, expected = ([step.record for step in taken(trainer, UNREAD + 4)] for trainer in (graphs, plain))
    page.check(found == expected, "a recorded step has other losses than one of plain calls")
    page.check(len(graphs.steps.layouts) > 1, "all batches have one layout")
    _same_bits(page, "a recorded step and one of plain calls", state(graphs), state(plain))


def _twice(page: Page, run: Path) -> None:
    """Over steps enough for weights to show what one bit of a gradient changed."""
    first, second = (trainer_of(run, "cuda") for _ in range(2))
    records = [[step.record for step in taken(trainer, LONG)] for trainer in (first, second)]
    page.check(records[0] == records[1], "the same run has other losses the second time")
    _same_bits(page, "the same run twice", state(first), state(second))


@contextmanager
def _interrupted_after(last: int) -> Iterator[None]:
    """This process sends itself the signal of Ctrl-C when a step is done."""
    take_step = Trainer.step

    def step(trainer: Trainer) -> None:
        take_step(trainer)
        if trainer.optimizer.steps == last:
            signal.raise_signal(signal.SIGINT)

    with mock.patch.object(Trainer, "step", step):
        yield


def _resume(page: Page, run: Path) -> None:
    """From the first step to the last on each device, or stopped by Ctrl-C, which saves, and gone on with on either."""
    states, untouched = {}, Path(shutil.copytree(run, "untouched"))
    for devices in (("cuda",), ("cpu",), ("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")):
        copy = Path(shutil.copytree(untouched, "-".join(devices) + f"-{len(devices)}"))
        if len(devices) > 1:
            with _interrupted_after(5):
                page.check(not resume(copy, 1, tiny.quiet, devices[0]), f"{devices} was not stopped")
        page.check(resume(copy, 1, tiny.quiet, devices[-1]), f"{devices} did not come to its end")
        states[devices] = read_arrays(copy / tiny.STATE, "")[0]
    whole = states.pop(("cuda",))
    _same_bits(page, "a run on the GPU that was stopped", states["cuda", "cuda"], whole)
    for devices, found in states.items():
        off, name = _furthest(found, whole)
        page.check(off < STATE and int(found["step"]) == 8, f"{' to '.join(devices)}: {name} is off by {off:.3g}")


def _nan(page: Page, run: Path) -> None:
    """The step in which it shows, and all after it, leave weights and moments alone."""
    sound, broken = trainer_of(run, "cuda"), trainer_of(run, "cuda")
    taken(sound, 3)
    try:
        spoiled(broken, 4, with_nan, 40)
    except Diverged as error:
        page.check(error.step == 4 and "next-sentence loss is nan" in error.reason, f"halted with: {error}")
    else:
        page.check(False, "a NaN in a weight did not halt the training")
    expected, found = state(sound), state(broken)
    expected.pop(f"w {SPOILED}")
    _same_bits(page, "weights and moments before and after a NaN", found, expected)
