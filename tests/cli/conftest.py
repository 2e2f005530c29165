"""What the tests of the command line share: a corpus, and a run that the command itself has made."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from train import tiny

import minibert
from minibert.cli import main
from minibert.train import pretrain as pretraining

FLAGS = {"layers": 1, "hidden": 16, "heads": 2, "vocab-size": 120, "length": 24, "held-out": 0.1, "batch": 6,
         "micro-batch": 2, "steps": 12, "warmup": 2, "save-every": 5, "eval-every": 6}
TINY = [part for name, value in FLAGS.items() for part in (f"--{name}", str(value))]


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    output: str
    errors: str


def in_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m minibert` in a process of its own, with standard output kept back as it is in a pipe."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "minibert", *map(str, arguments)], capture_output=True, encoding="utf-8", timeout=120,
        env={**inherited, "PYTHONPATH": str(Path(minibert.__file__).parents[1]), **environment})


@pytest.fixture
def minibert_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs the command in this process."""

    def run(*arguments: object) -> Answer:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's own way out
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training here."""
    monkeypatch.setattr(pretraining, "draw_curves", lambda *arguments: None)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("cli") / "corpus.txt")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[tuple[Path, str]]:
    """A run in a process of its own, with curves, and what it printed."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = in_process("pretrain", "--corpus", corpus, "--out", folder, *TINY)
    assert done.returncode == 0, done.stderr
    yield folder, done.stdout


@pytest.fixture(scope="session")
def run(first_run: tuple[Path, str]) -> Path:
    """A finished run that no test may change."""
    return first_run[0]
