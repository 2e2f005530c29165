"""Runs of a few steps, on a device and on the CPU. Imports no CuPy, and no pytest."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from train import tiny

from minibert.backend import to_host
from minibert.train import pretrain as pretraining
from minibert.train.device_steps import DeviceSteps
from minibert.train.loop import Trainer
from minibert.train.pretrain import Loaded, pretrain
from minibert.train.steps import Finished

SPOILED = "bert.pooler.dense.weight"  # the parameter that `with_nan` spoils


def prepared(folder: Path, corpus: Path, **changes: Any) -> Path:
    """A run folder in which no step was taken."""
    with mock.patch.object(pretraining, "_train", lambda *arguments: True):
        pretrain(tiny.settings(corpus, **{"micro_batch": 5, "start": "random", **changes}), folder, 1, tiny.quiet)
    return folder


def trainer_of(folder: Path, device: str, graphs: bool = True, fast: bool = True, **changes: Any) -> Trainer:
    loaded = Loaded.read(folder)
    loaded = replace(loaded, settings=replace(loaded.settings, **changes))
    model, optimizer = loaded.begin(device)
    model.to(device, fast)
    model.train().bert.encoder.recompute = loaded.settings.recompute
    trainer = Trainer(loaded.run, loaded.settings, model, optimizer, loaded.batches(), loaded.held_out(), 1)
    if not graphs:
        trainer.steps.close()
        assert isinstance(trainer.steps, DeviceSteps)
        trainer.steps = DeviceSteps(loaded.settings, model, optimizer, trainer.steps.black_box, graphs=False)
    return trainer


def taken(trainer: Trainer, steps: int) -> list[Finished]:
    with closing(trainer.steps):
        for _ in range(steps):
            trainer.step()
        trainer.settle()
    return trainer.recent


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    names = [name for name, _ in trainer.model.named_parameters()]
    columns = [[p.data for p in trainer.optimizer.parameters], trainer.optimizer.m, trainer.optimizer.v]
    return {f"{part} {name}": to_host(array).copy() for part, arrays in zip("wmv", columns, strict=True)
            for name, array in zip(names, arrays, strict=True)}


def spoiled(trainer: Trainer, at: int, spoil: Callable[[Trainer], None], steps: int) -> None:
    with closing(trainer.steps):
        for number in range(steps):
            if number == at - 1:
                trainer.settle()
                spoil(trainer)
            trainer.step()
        trainer.settle()


def with_nan(trainer: Trainer) -> None:
    trainer.model.bert.pooler.dense.weight.data[2, 3] = np.nan
