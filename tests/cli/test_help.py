"""The help names every flag and teaches; every setting has a flag, and every flag reaches its setting."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from minibert.train import pretrain as pretraining
from minibert.train.settings import PretrainSettings

from .conftest import Answer

Command = Callable[..., Answer]
OTHER_VALUES = {
    "corpus": ("a.txt", "b.txt"), "blank_lines": "paragraph", "vocab_size": 77, "held_out": 0.2, "length": 33,
    "mask_rate": 0.2, "short_pairs": 0.3, "preset": "mini", "layers": 3, "hidden": 24, "heads": 3, "width": 50,
    "activation": "relu", "positions": "sinusoidal", "norm": "pre", "dropout": 0.2, "start": "random",
    "init_std": 0.07, "steps": 444, "batch": 5, "micro_batch": 3, "lr": 0.125, "warmup": 7, "weight_decay": 0.5,
    "beta1": 0.25, "beta2": 0.75, "eps": 0.5, "clip": 3.5, "spike": 55.0, "precision": "tf32", "seed": 9,
    "eval_every": 11, "save_every": 13}
SETTINGS = {f.name: f for f in fields(PretrainSettings)}


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize(("command", "flags"), [
    ("pretrain", ["--out", "--resume", "--device", "--threads", *map(flag, SETTINGS)]),
    ("fill-mask", ["RUN", "text", "--top", "--device"]),
    ("evaluate", ["RUN", "--json", "--device", "--threads"]),
    ("embed", ["RUN", "FILE", "--out", "--pooling", "--nearest", "--top", "--threads", "--device"]),
    ("lint", ["FILE", "--blank-lines"]),
    ("notebooks", ["FOLDER", "--copy-only", "--no-browser"]),
    ("lab", ["FOLDER"]),
    ("bench", ["--growth", "--inference", "--recompute", "--shape", "--preset", "--device", "--threads",
               "--micro-batch", "--steps", "--seconds", "--peers", "--out", "--json"]),
])
def test_the_help_of_a_command_names_each_of_its_flags(command: str, flags: list[str],
                                                       minibert_command: Command) -> None:
    code, output, errors = minibert_command(command, "--help")
    assert (code, errors) == (0, "")
    assert output.startswith(f"usage: minibert {command} ")
    missing = [name for name in flags if not re.search(rf"^\s+{name}\b", output, re.MULTILINE)]
    assert missing == []
    assert "%%" not in output and "%(" not in output


def test_the_help_of_a_setting_says_what_it_does_and_its_default(minibert_command: Command,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")  # nothing is wrapped
    output = minibert_command("pretrain", "--help").output
    for name, f in SETTINGS.items():
        assert f.metadata["help"].replace("%%", "%") in output, name
        if isinstance(f.default, int | float) and not isinstance(f.default, bool) and "[" not in f.metadata["help"]:
            assert re.search(rf"^  {flag(name)} .*\[{re.escape(str(f.default))}\]$", output, re.MULTILINE), name


def test_the_overview_shows_every_command_in_use(minibert_command: Command) -> None:
    output = minibert_command("--help").output
    for command in ("pretrain", "fill-mask", "embed", "evaluate", "lint", "notebooks", "bench"):
        assert f"\n  minibert {command} " in output  # an example
        assert re.search(rf"^    {command}\s+[a-z]", output, re.MULTILINE)  # and its line in the list


@pytest.mark.parametrize("command", ["pretrain", "lint"])
def test_the_format_of_text_is_explained_where_text_is_read(command: str, minibert_command: Command) -> None:
    output = minibert_command(command, "--help").output
    for fact in ("UTF-8", "a blank line ends a document", "--blank-lines paragraph", "each file is one document"):
        assert fact in output


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[PretrainSettings]:
    """The settings that runs were started with; nothing is trained."""
    settings: list[PretrainSettings] = []
    monkeypatch.setattr(pretraining, "pretrain", lambda s, folder, threads, device: not settings.append(s))
    return settings


@pytest.mark.parametrize("name", SETTINGS)
def test_a_flag_reaches_its_setting(name: str, given: list[PretrainSettings], minibert_command: Command) -> None:
    default = SETTINGS[name].default
    value: Any = (not default) if isinstance(default, bool) else OTHER_VALUES[name]
    if isinstance(value, bool):
        arguments = [flag(name) if value else "--no-" + flag(name)[2:]]
    else:
        arguments = [flag(name), *(value if isinstance(value, tuple) else [value])]
    assert minibert_command("pretrain", *arguments).code == 0
    expected = tuple(str(Path(file).resolve()) for file in value) if name == "corpus" else value
    assert given == [PretrainSettings(**{name: expected})]
    assert getattr(given[0], name) != default


def test_without_flags_every_setting_has_its_default(given: list[PretrainSettings], minibert_command: Command) -> None:
    assert minibert_command("pretrain").code == 0
    assert given == [PretrainSettings()]


@pytest.mark.parametrize(("arguments", "named"), [
    ("", "COMMAND"), ("train", "'train'"), ("pretrain --preset huge", "--preset"), ("pretrain --start warm", "--start"),
    ("pretrain --steps many", "--steps"), ("pretrain --lr fast", "--lr"), ("pretrain --corpus", "--corpus"),
    ("pretrain --learning-rate 1", "--learning-rate"), ("fill-mask run", "text"), ("lint", "FILE"),
    ("lint --blank-lines page x", "--blank-lines"), ("evaluate", "RUN"),
    ("bench --shape 1 2 3", "--shape"), ("bench --shape 4 256 4 8192 32 128 --preset tiny", "--preset"),
    ("embed", "RUN"), ("embed run --pooling max", "--pooling"),
])
def test_a_command_line_that_makes_no_sense_is_answered_with_the_usage(arguments: str, named: str,
                                                                      minibert_command: Command) -> None:
    code, output, errors = minibert_command(*arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("usage: minibert") and named in errors.splitlines()[-1]
