"""The curves of a run: pictures that show its log, and nothing imported before they are wanted."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from minibert.train.evaluation import Floors
from minibert.train.plots import draw_curves
from minibert.train.run import RunFolder

from .process import ENVIRONMENT

FLOORS = Floors(4.8, 3.1, 0.69)


def log(run: RunFolder, steps: int, height: float = 4.0) -> RunFolder:
    """A log of so many training records, and half as many evaluations, the first without a pair of one class."""
    run.path.mkdir(exist_ok=True)
    for step in range(1, steps + 1):
        run.metrics.append(step=10 * step, masked_loss=height / step, pair_loss=0.7, lr=0.1, masked_accuracy=0.3,
                           pair_accuracy=0.5, gradient_norm=1.0, tokens_per_second=100)
        if step % 2:
            run.metrics.append(step=10 * step, held_out={
                "masked_loss": height / step, "pair_loss": 0.6, "masked_accuracy": 0.2, "pair_accuracy": 0.5,
                "next_accuracy": None if step == 1 else 0.4, "random_accuracy": 0.6})
    return run


def pictures(run: RunFolder) -> list[np.ndarray]:
    draw_curves(run, FLOORS, 0.4)
    paths = [run.path / name for name in ("loss.png", "accuracy.png")]
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in paths)
    return [matplotlib.image.imread(path) for path in paths]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("records", [0, 1])
def test_both_pictures_are_drawn_from_the_first_moment_of_a_run(records: int, tmp_path: Path) -> None:
    for picture in pictures(log(RunFolder(tmp_path), records)):
        assert picture.shape[0] > 300 and picture.shape[1] > 900
        assert 0.002 < (picture[..., :3].min(axis=-1) < 0.9).mean() < 0.5  # ink, and paper


def test_the_pictures_show_the_log(tmp_path: Path) -> None:
    losses, accuracies = pictures(log(RunFolder(tmp_path / "a"), 4))
    higher, same = pictures(log(RunFolder(tmp_path / "b"), 4, height=8.0))
    assert losses.shape != higher.shape or (losses != higher).any()
    assert (accuracies == same).all()


@pytest.mark.parametrize(("module", "without"), [
    ("minibert", ["tokenizers", "tqdm", "matplotlib", "cupy", "minibert.train", "minibert.text", "minibert.debug"]),
    ("minibert.cli", ["matplotlib", "cupy", "minibert.debug.execution", "minibert.train.pretrain"]),
    ("minibert.train.pretrain", ["matplotlib", "cupy", "minibert.debug"]),
])
def test_an_import_brings_no_more_than_it_needs(module: str, without: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {without} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, encoding="utf-8",
                            check=True)
    assert loaded.stdout == "[]\n"
