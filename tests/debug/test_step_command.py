"""`minibert step`: the step of a run that follows its last save, whole, through a pipe, and from anywhere in it."""

import argparse
import io
import re
from pathlib import Path

import numpy as np
import pytest

from minibert import InputError
from minibert.debug.commands.step import add_step
from minibert.debug.replaying.training_step import load_step
from minibert.debug.stepping import step


@pytest.fixture
def command(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command with these flags and this input; what it prints."""

    def go(*flags: str, typed: str = "") -> str:
        parser = argparse.ArgumentParser()
        add_step(parser.add_subparsers())
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        options = parser.parse_args(["step", str(run), *flags])
        assert options.run(options) == 0
        return capsys.readouterr().out

    return go


def titles(output: str) -> list[str]:
    return re.findall(r"^step (.*)$", output, re.MULTILINE)


def test_a_session_through_a_pipe(command) -> None:
    output = command(typed="n\nu backward attention\nc\nu nan\nb\n")
    assert output.startswith("training step 41 of ") and "examples 0 to 1 of 0 to 9, " in output
    assert [title.split()[3:] for title in titles(output)] == [
        ["forward", "embedding"], ["forward", "embedding"], ["backward", "attention"], ["backward", "merge_heads"]]
    assert "numerically, in float64: ok" in output and "fits 'nan': still here" in output
    assert "\033" not in output
    assert max(map(len, output.splitlines()[1:])) <= 80


def test_all_prints_every_step_from_where_it_begins(command) -> None:
    every = titles(command("--all"))
    assert [int(title.split()[0]) for title in every] == list(range(1, len(every) + 1))
    assert titles(command("--all", "--backward")) == every[len(every) // 2:]
    assert titles(command("--all", "--backward", "--until", "embedding")) == [
        title for title in every if int(title.split()[0]) >= len(every) - 3]


def test_the_view_and_the_page(command, tmp_path: Path) -> None:
    assert "[1, 2:4, 0:" in command("--view", "1, 2:4")
    output = command("--html", str(tmp_path / "walk.html"), "--until", "backward attention")
    page = (tmp_path / "walk.html").read_text(encoding="utf-8")
    assert page.count("<details") == int(output.split("\n")[3].split()[0]) > 5
    assert titles(output) == []


def test_the_examples_are_those_of_the_part(command, run: Path) -> None:
    training_step = load_step(run)
    row, arrays = training_step.parts()[3]
    assert row == 6 and len(arrays["input_ids"]) == 2
    assert "examples 6 to 7 of 0 to 9" in command("--part", "3", "--examples", "99")
    output = command("--part", "3", "--examples", "1")
    alone = step(training_step.loss(row, {name: array[:1] for name, array in arrays.items()}))
    assert f"examples 6 to 6 of 0 to 9, their share of the loss {alone.loss.item():.4g}" in output
    assert str(alone.event).split("formula")[1] in output


def test_examples_alone_meet_the_dropout_that_they_meet_in_the_batch(run: Path) -> None:
    training_step = load_step(run)
    row, arrays = training_step.parts()[1]
    together = step(training_step.loss(row, arrays)).until("dropout")["y"]
    alone = step(training_step.loss(row, {name: array[:1] for name, array in arrays.items()})).until("dropout")["y"]
    assert np.array_equal(alone, together[:1]) and (alone == 0.0).any()


@pytest.mark.parametrize(("flags", "message"), [
    (("--part", "5"), "--part must be from 0 to 4"), (("--part", "-1"), "--part must be from 0 to 4"),
    (("--examples", "0"), "--examples must be at least 1"), (("--until", "atention"), "did you mean attention"),
    (("--view", "a"), "cannot read 'a'"), (("--html", "{run}/settings.json/x.html"), "cannot write"),
    (("--html", "{run}/config.json"), "config.json exists already")])
def test_mistakes_are_answered_in_a_sentence(flags: tuple[str, ...], message: str, command, run: Path) -> None:
    with pytest.raises(InputError, match=message):
        command(*(flag.format(run=run) for flag in flags))


def test_a_folder_without_a_run_is_answered(tmp_path: Path, command) -> None:
    parser = argparse.ArgumentParser()
    add_step(parser.add_subparsers())
    options = parser.parse_args(["step", str(tmp_path)])
    with pytest.raises(InputError):
        options.run(options)
