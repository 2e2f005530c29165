"""Text in other scripts goes through every command, from the file to the guesses."""
# ruff: noqa: RUF001 -- letters that look like Latin ones and are not

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from train import tiny

from .conftest import TINY, Answer

Command = Callable[..., Answer]


class Script(NamedTuple):
    """A circle of twelve words, and what stands between them."""

    words: list[str]
    between: str


SCRIPTS = {
    "cyrillic": Script(["снег", "лето", "вода", "река", "небо", "луна", "трава", "гора", "поле", "море", "сон", "дом"],
                       " "),
    "chinese": Script(list("春夏秋冬风花雪月山水天地"), ""),
    "greek": Script(["νερο", "φως", "γη", "ουρανος", "βουνο", "λιμνη", "δασος", "χιονι", "μερα", "αερας", "φωτια",
                     "νυχτα"], " "),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_goes_through_all_commands(name: str, tmp_path: Path, minibert_command: Command,
                                            without_curves: None) -> None:
    words, between = SCRIPTS[name]
    text, run = tiny.write_corpus(tmp_path / f"{words[0]}.txt", words, between), tmp_path / words[1]
    assert minibert_command("lint", text).code == 0
    code, output, errors = minibert_command("pretrain", "--corpus", text, "--out", run, *TINY)
    assert code == 0, errors
    assert f"saving to {run}" in output
    vocabulary = (run / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert set(words) <= set(vocabulary)
    code, output, errors = minibert_command("fill-mask", run, between.join([words[0], "[MASK]", words[2]]))
    assert (code, errors) == (0, "")
    guesses = re.findall(r"^  (\S+)", output, re.MULTILINE)
    assert len(guesses) == 5 and set(guesses) <= set(words)
    assert minibert_command("evaluate", run).output.startswith("masked words")


def test_upper_case_and_accents_are_kept_when_asked_for(tmp_path: Path, minibert_command: Command,
                                                        without_curves: None) -> None:
    words = ["Été", "Hôtel", "Noël", "Über", "Ärger", "Öl", "Ça", "Île", "Œuf", "Ñu", "Åse", "Žal"]
    text, run = tiny.write_corpus(tmp_path / "text.txt", words), tmp_path / "run"
    assert minibert_command("pretrain", "--corpus", text, "--out", run, *TINY, "--cased", "--steps", 3).code == 0
    assert set(words) <= set((run / "vocab.txt").read_text(encoding="utf-8").splitlines())
    output = minibert_command("fill-mask", run, "Été [MASK]").output
    guesses = re.findall(r"^  (\S+)", output, re.MULTILINE)
    assert len(guesses) == 5 and set(guesses) <= set(words)
