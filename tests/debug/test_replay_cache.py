"""States on the way are kept and used, and nothing that is wrong with them is ever believed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train import tiny

from minibert.debug.replaying import rebuild
from minibert.debug.replaying.training_step import TrainingStep, load_step
from minibert.interop.safetensors import read_arrays
from minibert.train.checkpoint import save_checkpoint
from minibert.train.loop import Trainer


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the steps that are trained."""
    numbers, step = [], Trainer.step

    def counted(trainer: Trainer) -> None:
        step(trainer)
        numbers.append(trainer.optimizer.steps)

    monkeypatch.setattr(Trainer, "step", counted)
    return numbers


def cached(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "replay").glob("step-*.safetensors"))


def bits(step: TrainingStep) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in step.state().items()}


def test_a_second_replay_begins_at_the_states_of_the_first(folder: Path, trained: list[int]) -> None:
    first = load_step(folder, 34)
    assert trained == list(range(1, 34)) and cached(folder) == [23, 33]
    trained.clear()
    again = load_step(folder, 34)
    assert trained == [] and bits(again) == bits(first)
    assert again.origin == "the state after step 33 in replay/step-33.safetensors"
    assert load_step(folder, 27).number == 27 and trained == [24, 25, 26]
    arrays = read_arrays(folder / "replay" / "step-33.safetensors", "")[0]
    assert arrays["step"] == 33 and arrays["weight.bert.pooler.dense.bias"].tobytes() == bits(first)[
        "weight.bert.pooler.dense.bias"]


def test_only_the_latest_states_are_kept(folder: Path) -> None:
    for number in range(2, 10):
        load_step(folder, number)
    assert cached(folder) == list(range(1, 9))
    load_step(folder, 11)
    assert cached(folder) == [*range(2, 9), 10]


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [
    damaged, lambda path: path.write_bytes(b""), lambda path: shutil.copy(path.parents[1] / tiny.STATE, path),
    lambda path: path.rename(path.with_name("step-x.safetensors")),
    lambda path: (path.parent / "made_with.txt").write_text("NumPy 1.0, abacus", encoding="utf-8"),
    lambda path: (path.parent / "made_with.txt").unlink()])
def test_a_kept_state_that_is_damaged_or_foreign_is_not_used(spoil: Callable[[Path], object], folder: Path,
                                                             trained: list[int]) -> None:
    expected = bits(load_step(folder, 8))
    spoil(folder / "replay" / "step-7.safetensors")
    trained.clear()
    step = load_step(folder, 8)
    assert bits(step) == expected and trained == list(range(1, 8)) and step.optimizer.steps == 7
    assert 7 in cached(folder) and load_step(folder, 8).origin.endswith("step-7.safetensors")


def test_states_of_another_numpy_are_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_step(folder, 8)
    assert np.__version__ in (folder / "replay" / "made_with.txt").read_text(encoding="utf-8")
    monkeypatch.setattr(rebuild, "arithmetic", lambda device: "another NumPy")
    step = load_step(folder, 10)
    assert step.origin == "the beginning of the run, and 9 steps trained again" and cached(folder) == [9]


def test_states_of_another_run_in_the_same_folder_are_replaced(folder: Path) -> None:
    load_step(folder, 8)
    settings = folder / "settings.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace('"beta2": 0.98', '"beta2": 0.97'),
                        encoding="utf-8")
    step = load_step(folder, 10)
    assert step.loaded.settings.beta2 == 0.97
    assert step.origin == "the beginning of the run, and 9 steps trained again" and cached(folder) == [9]


def test_a_folder_that_cannot_be_written_is_replayed_all_the_same(folder: Path) -> None:
    (folder / "replay").write_text("in the way", encoding="utf-8")
    assert load_step(folder, 6).optimizer.steps == 5


def test_the_state_before_a_step_that_failed_is_used(folder: Path, trained: list[int]) -> None:
    step = load_step(folder, 14)
    shutil.rmtree(folder / "replay")
    save_checkpoint(folder / "black_box.safetensors", step.model, step.optimizer, 0)
    trained.clear()
    assert bits(load_step(folder, 14)) == bits(step) and trained == []
    assert load_step(folder, 16).origin == (
        "the state after step 13 in black_box.safetensors, and 2 steps trained again")
    assert load_step(folder, 13).origin.startswith("the beginning")
