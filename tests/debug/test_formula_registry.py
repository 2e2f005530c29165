"""The formulas of the registry say what the code computes; when either is changed alone, a test fails."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ops.cases import CASES, Case, arguments, case

from minibert.debug.formulas import parse
from minibert.errors import InputError
from minibert.ops.registry import REGISTRY, Op

from .readings import Drift, Reading

NOT_COMPUTED = {
    "transpose": "as many indices as x has axes, so it is written with dots",
    "concatenate": "as many inputs as are given, so it is written with dots",
}
TIES = {
    "relu": [case(np.array([-1.5, 0.0, 2.0]))],
    "maximum": [case(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0], [3.0]]))],
    "max": [case(np.array([[2.0, 7.0, 7.0], [5.0, 5.0, 5.0]]), axis=1)],
}
COMPUTED = [op for op in REGISTRY.values() if op.name not in NOT_COMPUTED]


def cases(name: str) -> list[Case]:
    """Those of every test of this operation, and the kinks that these avoid."""
    return [arguments(name, i) for i in range(len(CASES[name]))] + TIES.get(name, [])


@pytest.mark.parametrize("op", COMPUTED, ids=lambda op: op.name)
def test_the_code_computes_what_its_formulas_say(op: Op) -> None:
    for i, one in enumerate(cases(op.name)):
        assert Reading(op, one, seed=i).hold() >= 1 + len(op.inputs) - (op.name in ("linear", "add_norm"))


def test_formulas_that_cannot_be_computed_are_few_and_known() -> None:
    assert len(NOT_COMPUTED) <= 3
    for name in NOT_COMPUTED:
        with pytest.raises(InputError):
            Reading(REGISTRY[name], arguments(name, 0)).hold()


def drifts(op: Op) -> bool:
    """Whether any case tells these formulas from the code."""
    for i, one in enumerate(cases(op.name)):
        try:
            Reading(op, one, seed=i).hold()
        except (Drift, InputError):
            return True
    return False


PLANTED = [
    ("add", "formula", "x + y", "x - y"), ("subtract", "gradient", "-dz", "dz"),
    ("multiply", "gradient", r"dy = dz\,x", r"dy = dz\,y"), ("divide", "gradient", r"dz\,z", "dz"),
    ("maximum", "gradient", r"\tfrac12 dz\,[x = y],\; dy", r"\tfrac13 dz\,[x = y],\; dy"),
    ("maximum", "gradient", "[x < y]", "[x > y]"), ("where", "gradient", "(1 - c)", "c"),
    ("power", "gradient", "{p-1}", "p"), ("power", "gradient", r"p\,", ""), ("log", "gradient", "{x}", "{2x}"),
    ("sqrt", "gradient", "2y", "y"), ("relu", "gradient", "y > 0", "y < 0"), ("tanh", "gradient", "y^2", "y"),
    ("sigmoid", "formula", "-x", "x"), ("gelu", "gradient", r" + x\,\phi(x)", ""),
    ("gelu", "formula", r"\sqrt 2", "2"), ("gelu", "gradient", r"2\pi", r"\pi"),
    ("gelu_tanh", "formula", "0.044715", "0.044716"), ("gelu_tanh", "gradient", r"3 \cdot", r"2 \cdot"),
    ("mean", "formula", r"\frac1K", ""), ("max", "gradient", r"\frac{[x_k = y]}{\sum_j [x_j = y]}", "[x_k = y]"),
    ("broadcast_to", "gradient", r"\sum_b", r"\max_b"), ("split_heads", "formula", "aD + d", "dA + a"),
    ("split_heads", "gradient", "dy_{batd}", "dy_{btad}"), ("merge_heads", "formula", "aD + d", "dA + a"),
    ("getitem", "gradient", "i_n = m", "n = m"), ("embedding", "gradient", "[i_n = v]", "[n = v]"),
    ("matmul", "gradient", r"b^\top", "b"), ("matmul", "gradient", r"a^\top \cdot dy", r"dy \cdot a^\top"),
    ("linear", "formula", r"W^\top", "W"), ("linear", "gradient", r"\sum_n dy_{no}", r"\max_n dy_{no}"),
    ("linear_gelu", "formula", r"h\,\Phi(h)", r"h\,\Phi(y)"), ("linear_gelu", "gradient", r"dh \cdot W", r"dy \cdot W"),
    ("linear_gelu", "gradient", r"\sum_n dh_{no}", r"\sum_n dy_{no}"),
    ("softmax", "gradient", r"dp_j\,p_j", "dp_j"), ("log_softmax", "gradient", "e^{y_i}", "y_i"),
    ("log_softmax", "formula", r"\ln", ""), ("layer_norm", "gradient", r" - \overline{d\hat x}", ""),
    ("layer_norm", "gradient", r"\frac1\sigma", r"\sigma"), ("layer_norm", "formula", r" + \epsilon", ""),
    ("add_norm", "gradient", r"\frac{r\,ds}{1 - p}", "ds"),
    ("add_norm", "formula", r"\frac{r\,(h + b)}{1 - p}", r"r\,(h + b)"),
    ("add_norm", "formula", r"r\,(h + b)", r"r\,h + b"), ("add_norm", "gradient", r"\sum_n dh_{ni}", r"\sum_n ds_{ni}"),
    ("attention", "formula", r"\frac{q \cdot k^\top}{\sqrt D}", r"q \cdot k^\top"),
    ("attention", "formula", r" + \ln m", ""), ("attention", "gradient", r"dZ^\top \cdot q", r"dZ \cdot q"),
    ("attention", "gradient", r"\tilde P^\top \cdot dc", r"P^\top \cdot dc"),
    ("attention", "gradient", r"\,P_{tj}", ""), ("dropout", "formula", "1 - p", "1 + p"),
    ("cross_entropy", "formula", r"-\frac1M", r"\frac1M"), ("cross_entropy", "gradient", "- [v = y_m]", ""),
]


def planted(name: str, field: str, old: str, new: str) -> Op:
    text = getattr(REGISTRY[name], field)
    assert old in text
    changes: dict[str, Any] = {field: text.replace(old, new, 1)}
    if field != "shapes":
        assert parse(changes[field])  # so that it is found for what it says, and not for how
    return replace(REGISTRY[name], **changes)


@pytest.mark.parametrize("mutant", PLANTED, ids=[f"{name}: {old} -> {new}" for name, _, old, new in PLANTED])
def test_a_wrong_formula_is_found(mutant: tuple[str, str, str, str]) -> None:
    assert drifts(planted(*mutant))


@pytest.mark.parametrize(("name", "wrong"), [
    ("gelu", {"cdf": r"\phi(x)"}), ("layer_norm", {"rstd": r"\sigma"}), ("dropout", {"scale": r"\frac{1}{p}"}),
    ("attention", {"probs": r"\tilde P"}), ("cross_entropy", {"scale": "M"})])
def test_a_wrong_name_for_what_is_saved_is_found(name: str, wrong: dict[str, str]) -> None:
    assert drifts(replace(REGISTRY[name], notation={**REGISTRY[name].notation, **wrong}))


@pytest.mark.parametrize(("name", "old", "new"), [
    ("split_heads", "(B, T, H)", "(B, H, T)"), ("attention", "q (B, A, T, D)", "q (B, A, S, D)"),
    ("linear", "(O, I)", "(I, O)"), ("linear_gelu", "(O, I)", "(I, O)"), ("add_norm", "bias (H,)", "bias (H, H)"),
    ("layer_norm", "gamma (H,)", "gamma (H, H)"),
    ("embedding", "y (..., H)", "y (..., V)")])
def test_a_wrong_shape_is_found(name: str, old: str, new: str) -> None:
    assert drifts(planted(name, "shapes", old, new))


EDITS = [(r"\+", "-"), (r"(?<!\\)-", "+"), (r"0(?!\.)|[13]", "2"), (r"(?<![\d.])2", "3"), (">", "<"), ("<", ">"),
         (r"\^\\top", ""), (r"\\sum(_\w)", r"\\max\1"), (r"\\sqrt", ""), (r"\\overline", ""), (r"\\ln", ""),
         (r"\\tanh", ""), (r"\\hat", ""), (r"\\tilde", ""), (r"_\{(\w)(\w)", r"_{\2\1"),
         (r"\\frac(\{[^{}]*\})(\{[^{}]*\})", r"\\frac\2\1")]


def edited(text: str) -> Iterator[str]:
    """The text with one small edit, in every place where one of EDITS fits."""
    for old, new in EDITS:
        for match in re.finditer(old, text):
            new_text = text[:match.start()] + match.expand(new) + text[match.end():]
            with suppress(InputError):
                parse(new_text)
                yield new_text


@pytest.mark.parametrize("op", COMPUTED, ids=lambda op: op.name)
def test_every_small_edit_of_every_formula_is_found(op: Op) -> None:
    survivors = [(field, text) for field in ("formula", "gradient") for text in edited(getattr(op, field))
                 if not drifts(replace(op, **{field: text}))]
    assert not survivors


def test_there_are_many_small_edits() -> None:
    assert sum(1 for op in COMPUTED for field in (op.formula, op.gradient) for _ in edited(field)) >= 100


def test_the_survivors_of_dropout_are_as_many_as_its_formula_says() -> None:
    x = np.ones(100_000)
    for p in (0.1, 0.7):
        y, (keep, scale) = REGISTRY["dropout"].forward(x, p, CASES["dropout"][0].args[2])
        assert keep.mean() == pytest.approx(1 - p, abs=0.01)
        assert y.mean() == pytest.approx(1, abs=0.03) and scale == pytest.approx(1 / (1 - p), rel=1e-4)
