# ruff: noqa: RUF001 -- Greek letters and mathematical signs are what is tested here
"""Cards say of every operation what there is to say, fit a terminal, and say of kinks what the code does."""

import argparse
import inspect
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minibert
from minibert.debug.commands.card import add_card
from minibert.debug.formulas.card import Card, Cards, card, cards
from minibert.errors import InputError
from minibert.ops.registry import REGISTRY

ROOT = Path(minibert.__file__).parents[1]
VOID = {"mspace", "meta"}


class Tags(HTMLParser):
    """Every tag that was opened and closed; raises where they do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.seen.append(tag)
        self.attributes += [name for name, _ in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("name", REGISTRY)
def test_every_card_fits_a_terminal_and_says_everything(name: str) -> None:
    op, shown = REGISTRY[name], str(card(name))
    lines = shown.splitlines()
    assert lines[0] == name and max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    labels = [line.split()[0] for line in lines if line.startswith(
        ("forward", "backward", "where ", "shapes", "saved", "kinks", "source", "code"))]
    assert labels[-1] == "code" and {"forward", "backward", "shapes", "saved"} <= set(labels)
    assert ("kinks" in labels, "source" in labels) == (bool(op.kinks), bool(op.source))
    flat = " ".join(shown.split())
    for saved in op.saved:
        assert f" {saved}: " in flat
    assert " ".join(op.shapes.split()) in flat and op.kinks in flat and op.source in flat


@pytest.mark.parametrize("name", REGISTRY)
def test_the_two_functions_are_where_the_card_says(name: str) -> None:
    places = re.findall(r"(\w+)  (minibert/\S+):(\d+)", str(card(name)))
    assert [function for function, _, _ in places] == [name, f"{name}_backward"]
    for function, file, line in places:
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def test_what_is_saved_is_explained() -> None:
    for name, lines in {
        "relu": ["y: the output"], "gelu": ["x: the input", "cdf: Φ(x)"], "gelu_tanh": ["t: as in the formula"],
        "layer_norm": ["xhat: x\u0302", "rstd: 1/σ", "gamma: the input"], "split_heads": ["saved     nothing"],
        "attention": ["probs: P", "keep: r", "m: mask, 1 where a query may look, 0 elsewhere"],
        "linear": ["weight: the input W", "has_bias: whether there is a bias", "W: weight"],
        "matmul": ["ta: whether a is transposed first", "·: the product of matrices, over the last two axes"],
        "embedding": ["ids: the argument i", "table_shape: the shape of table"],
        "power": ["exponent: the argument p"], "cross_entropy": ["scale: 1/M", "ℓ: loss", "classes: y_m"],
        "dropout": ["r: 1 for the numbers that dropout keeps, 0 for the others"]}.items():
        for line in lines:
            assert line in str(card(name)), (name, line)


def test_every_name_of_the_notation_is_a_name_of_the_operation_or_a_letter() -> None:
    for op in REGISTRY.values():
        names = {*inspect.signature(op.forward).parameters, *op.saved, op.output}
        assert all(name in names or len(name) == 1 for name in op.notation), op.name


def test_cards_in_a_notebook_are_static_and_hold_mathml() -> None:
    for shown in [cards(), *cards()]:
        page = Tags(shown._repr_html_())
        assert "math" in page.seen and "table" in page.seen
        assert not {"script", "link", "img", "iframe", "style"} & set(page.seen)
        assert not {"src", "href", "onclick"} & set(page.attributes)


def test_without_a_name_all_are_listed() -> None:
    listed = card()
    assert isinstance(listed, Cards) and isinstance(card("relu"), Card)
    lines = str(listed).splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == set(REGISTRY)
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("=") for line in lines)  # no line ends inside a formula that fits the next
    assert "softmax        p_i = e^{x_i} / ∑_j e^{x_j}" in lines
    assert all(f">{name}<" in listed._repr_html_() for name in REGISTRY)


@pytest.mark.parametrize(("name", "hint"), [
    ("layernorm", "did you mean layer_norm"), ("sofmax", "softmax or log_softmax"),
    ("Attention", "did you mean attention"), ("zzz", "choose one of add, ")])
def test_an_unknown_name_is_answered_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        card(name)


def gradient(name: str, *args: Any, **hyper: Any) -> Any:
    """What flows back to the first input where every dy is 3."""
    y, saved = REGISTRY[name].forward(*args, **hyper)
    return REGISTRY[name].backward(np.full(np.shape(y), 3.0), *saved)[0]


ZERO, MASKED = np.zeros(1), np.full((1, 2), -np.inf)
NOWHERE = [np.ones((1, 1, 1, 2)) * 0.7] * 3 + [np.zeros((1, 1, 1, 1), bool)]
KINKS: dict[str, Callable[[], bool]] = {
    "relu": lambda: gradient("relu", ZERO) == 0,
    "maximum": lambda: gradient("maximum", ZERO, ZERO) == 1.5,
    "max": lambda: gradient("max", np.array([2.0, 5.0, 5.0])).tolist() == [0, 1.5, 1.5],
    "sqrt": lambda: gradient("sqrt", ZERO) == 0,
    "power": lambda: gradient("power", ZERO, 0) == 0 and np.isinf(gradient("power", ZERO, 0.5)).all(),
    "softmax": lambda: not REGISTRY["softmax"].forward(MASKED)[0].any() and not gradient("softmax", MASKED).any(),
    "log_softmax": lambda: np.isnan(REGISTRY["log_softmax"].forward(MASKED)[0]).all(),
    "attention": lambda: not REGISTRY["attention"].forward(*NOWHERE)[0].any()
    and not gradient("attention", *NOWHERE).any(),
    "cross_entropy": lambda: not gradient("cross_entropy", np.ones((1, 2)), np.array([-100])).any(),
}


def test_kinks_are_as_the_cards_say() -> None:
    assert KINKS.keys() == {op.name for op in REGISTRY.values() if op.kinks}
    with np.errstate(all="ignore"):
        assert [name for name, holds in KINKS.items() if not holds()] == []


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_card(parser.add_subparsers())
    options = parser.parse_args(["card", *words])
    status: int = options.run(options)
    return status


def test_the_command_prints_a_card_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("gelu") == 0
    assert capsys.readouterr().out == f"{card('gelu')}\n"
    assert command() == 0
    assert capsys.readouterr().out == f"{card()}\n"
    with pytest.raises(InputError, match="did you mean gelu"):
        command("gleu")


def test_the_command_writes_a_page_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["attention"], []):
        file = tmp_path / f"{len(words)}.html"
        assert command(*words, "--html", str(file)) == 0
        page = file.read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and '<meta charset="utf-8">' in page and "Bernoulli" in page
        assert "script" not in Tags(page.removeprefix("<!doctype html>")).seen
    assert capsys.readouterr().out.endswith("0.html\n")
    with pytest.raises(InputError, match="exists already"):
        command("--html", str(file))
    with pytest.raises(InputError, match=r"cannot write .*No such file"):
        command("--html", str(tmp_path / "none" / "a.html"))
