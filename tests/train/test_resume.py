"""A run that is stopped and resumed ends with the same bits as one that never stopped."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.interop.safetensors import read_arrays
from minibert.train.loop import Trainer
from minibert.train.pretrain import resume

from . import tiny
from .process import interrupt_after, outcome, victim

Copy = Callable[[Path], Path]


def stopped_by(signals: list[int], fault: str, folder: Path) -> tuple[int, str, str]:
    """Exit code and output of a run that gets these signals during its fifth step."""
    process = victim(fault, folder)
    assert process.stdout is not None
    while process.stdout.readline() not in ("ready\n", ""):
        pass
    for number in signals:
        process.send_signal(number)
    return outcome(process)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """A run that Ctrl-C stopped during step 5, between two saves."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("runs") / "stopped"))
    code, output, errors = stopped_by([signal.SIGINT], "block", folder)
    assert code == 130, errors
    assert f"stopped and saved at step 5 of 40; to go on: minibert pretrain --resume {folder}" in output
    return folder


def step_of(folder: Path) -> int:
    return int(read_arrays(folder / tiny.STATE, "")[0]["step"])


def test_ctrl_c_saves_the_step_that_was_under_way_and_a_resume_ends_with_the_same_bits(
        stopped: Path, finished: Path, copy: Copy) -> None:
    assert step_of(stopped) == 5
    folder = copy(stopped)
    assert resume(folder, 2, tiny.quiet)
    assert tiny.contents(folder) == tiny.contents(finished)


def test_sigterm_is_as_good_as_ctrl_c(prepared: Path, stopped: Path, copy: Copy) -> None:
    folder = copy(prepared)
    code, _, errors = stopped_by([signal.SIGTERM], "block", folder)
    assert code == 130, errors
    assert tiny.contents(folder) == tiny.contents(stopped)


def test_a_second_ctrl_c_ends_a_step_that_hangs_and_keeps_the_last_save(stopped: Path, copy: Copy) -> None:
    folder = copy(stopped)
    code, _, errors = stopped_by([signal.SIGINT, signal.SIGTERM], "stuck", folder)
    assert code == 130
    assert errors.endswith("minibert: interrupted\n")
    assert tiny.contents(folder) == tiny.contents(stopped)


@pytest.mark.parametrize("threads", [2, 4])
def test_any_number_of_threads_gives_the_same_bits(threads: int, prepared: Path, finished: Path, copy: Copy) -> None:
    folder = copy(prepared)
    assert resume(folder, threads, tiny.quiet)
    assert tiny.contents(folder) == tiny.contents(finished)


def test_a_run_may_be_stopped_at_any_step_and_again(prepared: Path, finished: Path, copy: Copy,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    folder, said = copy(prepared), list[str]()
    stops = [1, 2, 9, 10, 19, 20, 21, 25, 39]  # around saves (10, 20), an evaluation (20) and the end
    interrupt_after(stops, monkeypatch)
    ends = [resume(folder, 1 + number % 2, said.append) for number in range(len(stops) + 1)]
    assert ends == [False] * len(stops) + [True]
    resumed = [line.split()[-3] for line in said if line.startswith("resuming")]
    assert resumed == [str(step) for step in stops]
    assert tiny.contents(folder) == tiny.contents(finished)


def test_a_signal_during_the_last_step_finds_the_run_finished(prepared: Path, finished: Path, copy: Copy,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    folder, save = copy(prepared), Trainer.save

    def interrupted_save(trainer: Trainer) -> None:
        save(trainer)
        if trainer.optimizer.steps == 40:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "save", interrupted_save)
    assert resume(folder, 2, tiny.quiet)
    assert tiny.contents(folder) == tiny.contents(finished)


def test_resuming_a_finished_run_says_so_and_changes_nothing(finished: Path, copy: Copy) -> None:
    folder, said = copy(finished), list[str]()
    log = (folder / "metrics.jsonl").read_bytes()
    assert resume(folder, 1, said.append)
    assert said[0] == f"resuming {folder} at step 40 of 40"
    assert "over" in said[-1] and "masked tokens" in said[-1]
    assert tiny.contents(folder) == tiny.contents(finished)
    assert (folder / "metrics.jsonl").read_bytes() == log


def test_the_saved_state_holds_weights_and_both_moments(finished: Path) -> None:
    """Both moments and the weights differ from zero and from each other, so equal bytes mean something."""
    arrays, _ = read_arrays(finished / tiny.STATE, "")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    weight, m, v = (arrays[f"{part}.{name}"] for part in ("weight", "m", "v"))
    assert abs(weight).max() > 0.0 and abs(m).max() > 0.0 and v.min() >= 0.0 and v.max() > 0.0
    model, _ = read_arrays(finished / tiny.MODEL, "")
    assert (model[name] == weight).all()
