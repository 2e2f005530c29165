"""kill -9, a crash or a power cut at any moment costs at most the steps since the last save."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.train.pretrain import pretrain, resume
from minibert.train.run import RunFolder

from . import tiny
from .process import outcome, victim

SETTINGS = {"steps": 4, "batch": 4, "warmup": 1, "save_every": 2, "eval_every": 2}
SAVED = ("config.json", tiny.MODEL, tiny.STATE)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> tuple[Path, list[str]]:
    """One run for each point at which a file changes, killed there and gone on with; and the points' names."""
    folder = tmp_path_factory.mktemp("killed")
    code, output, errors = outcome(victim("killed", corpus, folder))
    assert code == 0, errors
    lines = [line.split("\t") for line in output.splitlines()]
    assert {ended for ended, _ in lines} == {"0"}, errors
    return folder, [point for _, point in lines]


def test_every_kind_of_write_was_hit(killed: tuple[Path, list[str]]) -> None:
    points = killed[1]
    for name in ("vocab.txt", "tokenizer.json", "corpus.safetensors", "settings.json", "metrics.jsonl"):
        assert f"after {name} is replaced" in points
    for name in SAVED:  # at step 2 and at step 4
        assert points.count(f"half of {name.split('.')[0]}") == 2
        assert points.count(f"after {name} is replaced") == 2
    assert points.count("half a line of the log") == 3  # two evaluations, and the last steps' means


def test_a_run_killed_at_any_write_ends_with_the_same_bits(
        killed: tuple[Path, list[str]], corpus: Path, tmp_path: Path) -> None:
    whole = tmp_path / "never-stopped"
    assert pretrain(tiny.settings(corpus, **SETTINGS), whole, 2, tiny.quiet)
    folder, points = killed
    for number, point in enumerate(points, 1):
        assert tiny.contents(folder / f"{number:03}") == tiny.contents(whole), f"killed at: {point}"


def test_the_log_of_a_killed_run_has_every_record_once(killed: tuple[Path, list[str]]) -> None:
    folder, points = killed
    for number, point in enumerate(points, 1):
        lines = (folder / f"{number:03}" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        evaluations = [record["step"] for record in records if "held_out" in record]
        means = [record["step"] for record in records if "held_out" not in record]
        assert (evaluations, means) == ([2, 4], [4]), f"killed at: {point}"


def test_a_resume_clears_what_a_killed_save_left_and_nothing_else(
        killed: tuple[Path, list[str]], finished: Path, prepared: Path,
        copy: Callable[[Path], Path]) -> None:
    folder, points = killed
    for number in range(1, len(points) + 1):
        assert not list((folder / f"{number:03}").glob(".*")), f"killed at: {points[number - 1]}"
    again = copy(prepared)
    (again / ".training_state.safetensors.1.tmp").write_bytes(b"half of it")
    (again / ".model.safetensors.1.tmp").mkdir()
    (again / ".notes.tmp").write_text("mine", encoding="utf-8")
    assert resume(again, 2, tiny.quiet)
    assert {file.name for file in again.glob(".*")} == {".model.safetensors.1.tmp", ".notes.tmp"}
    assert tiny.contents(again) == tiny.contents(finished)


def test_a_torn_last_line_of_the_log_is_forgotten(finished: Path, copy: Callable[[Path], Path]) -> None:
    log = RunFolder(copy(finished)).metrics
    whole = log.read()
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"step": 41, "masked_loss": 2.')
    assert log.read() == whole
    log.rewind(20)
    assert log.read() == [record for record in whole if record["step"] <= 20] != whole
