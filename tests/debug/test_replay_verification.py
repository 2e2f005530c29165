"""What a replay says of its numbers where other bits are to be expected, and where numbers are wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train import tiny

from minibert.debug.replaying import verification
from minibert.debug.replaying.replay import replay
from minibert.debug.replaying.verification import ROUNDING, distance
from minibert.interop.safetensors import read_arrays, write_arrays
from minibert.train.checkpoint import FORMAT

State = dict[str, np.ndarray]
NAME = "bert.pooler.dense.weight"


@pytest.fixture
def state(run: Path) -> State:
    """The last state of the run."""
    arrays = read_arrays(run / tiny.STATE, "")[0]
    return {name: array for name, array in arrays.items() if name not in ("step", "seed")}


@pytest.fixture
def changed(run: Path, tmp_path: Path) -> Callable[[Callable[[str, np.ndarray], np.ndarray]], Path]:
    """Makes a copy of the run whose last state is another."""
    def change(function: Callable[[str, np.ndarray], np.ndarray]) -> Path:
        folder = Path(shutil.copytree(run, tmp_path / "changed"))
        arrays, _ = read_arrays(folder / tiny.STATE, "")
        write_arrays(folder / tiny.STATE, {name: x if name in ("step", "seed") else function(name, x)
                                           for name, x in arrays.items()}, {"format": FORMAT})
        return folder
    return change


def rounded(name: str, x: np.ndarray) -> np.ndarray:
    """As another device might have computed it."""
    noise = np.random.default_rng(len(name)).uniform(-3e-6, 3e-6, x.shape)
    return (x * (1.0 + noise)).astype(x.dtype)


def test_a_run_of_another_device_is_verified_within_rounding(changed: Callable[..., Path]) -> None:
    folder = changed(lambda name, x: rounded(name, x) if name[0] in "mv" else x)
    said = replay(folder, 40).run(keep=False).verified
    assert said.startswith(f"verified: within rounding of the run, in {tiny.STATE}, not bit for bit: moments differ by "
                           f"up to 3e-06 of the largest")


def test_wrong_numbers_are_not_taken_for_rounding(changed: Callable[..., Path]) -> None:
    folder = changed(lambda name, x: 1.01 * x if name == f"m.{NAME}" else rounded(name, x))
    said = replay(folder, 40).run(keep=False).verified
    assert said.startswith(f"NOT within rounding of the run, in {tiny.STATE}: ") and "of 90 arrays" in said


@pytest.mark.parametrize("kind", ["m", "v"])
def test_a_wrong_moment_is_far_away(state: State, kind: str) -> None:
    assert distance({name: rounded(name, x) if name[0] != "w" else x for name, x in state.items()}, state, 1e-3) < 1e-5
    assert distance(state | {f"{kind}.{NAME}": 1.002 * state[f"{kind}.{NAME}"]}, state, 1e-3) > ROUNDING
    other = state[f"{kind}.{NAME}"].copy()
    other[2, 3] += 0.01 * np.abs(other).max()
    assert distance(state | {f"{kind}.{NAME}": other}, state, 1e-3) > ROUNDING


def test_a_wrong_weight_is_far_away_but_where_its_gradient_is_rounding(state: State) -> None:
    key = "bert.encoder.layer.0.attention.self.key.bias"
    for name, far in ((NAME, True), (key, False)):
        weight = state[f"weight.{name}"] + np.float32(1e-3)  # one step of the learning rate
        assert (distance(state | {f"weight.{name}": weight}, state, 1e-3) > ROUNDING) == far, name
    ulp = np.nextafter(state[f"weight.{NAME}"], np.float32(1))
    assert distance(state | {f"weight.{NAME}": ulp}, state, 0.0) == 0.0


def test_states_of_other_arrays_are_infinitely_far_apart(state: State) -> None:
    assert distance({name: x for name, x in state.items() if name != f"m.{NAME}"}, state, 1e-3) == np.inf
    assert verification.of_another_arithmetic({}, state) is False
