"""Training that is disturbed: by `victim.py`, a process of its own, or by signals in this one."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

import minibert
from minibert.train.loop import Trainer

SCRIPT = Path(__file__).with_name("victim.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(minibert.__file__).parents[1])}


def victim(*arguments: object) -> subprocess.Popen[str]:
    """Start it; see the script for the arguments."""
    return subprocess.Popen([sys.executable, str(SCRIPT), *map(str, arguments)], env=ENVIRONMENT, encoding="utf-8",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of a process, once it has ended; no traceback may be among them."""
    with process:
        try:
            output, errors = process.communicate(timeout=100)
        finally:
            process.kill()  # no effect on one that has ended
    assert "Traceback" not in errors
    return process.returncode, output, errors


def interrupt_after(steps: Collection[int], patch: pytest.MonkeyPatch) -> None:
    """Make this process send itself the signal of Ctrl-C whenever one of these steps is done."""
    train = Trainer.step

    def step(trainer: Trainer) -> None:
        train(trainer)
        if trainer.optimizer.steps in steps:
            signal.raise_signal(signal.SIGINT)

    patch.setattr(Trainer, "step", step)
