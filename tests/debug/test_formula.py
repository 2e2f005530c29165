# ruff: noqa: RUF001 -- Greek letters and mathematical signs are what is tested here
"""The notation of the registry: what it reads and refuses, how it is shown, and what it computes."""

from xml.etree import ElementTree

import numpy as np
import pytest

from minibert.debug.formulas import as_mathml, as_text, evaluate, parse
from minibert.errors import InputError
from minibert.ops.registry import REGISTRY

RNG = np.random.default_rng(3)
FORMULAS = [(op.name, latex) for op in REGISTRY.values() for latex in (op.formula, op.gradient)]
FORMULAS += [(op.name, latex) for op in REGISTRY.values() for latex in op.notation.values()]


@pytest.mark.parametrize(("latex", "text"), [
    (r"p_i = \frac{e^{x_i}}{\sum_j e^{x_j}}", "p_i = e^{x_i} / ∑_j e^{x_j}"),
    (r"dx = \tfrac12 dy\,(1 - y^2)", "dx = ½ dy (1 − y²)"),
    (r"\sigma = \sqrt{\overline{(x - \mu)^2} + \epsilon}", "σ = √(mean((x − μ)²) + ε)"),
    (r"\mu = \frac1H \sum_h x_h", "μ = (1/H) ∑_h x_h"),
    (r"dW = dy^\top \cdot x,\; db_o = \sum_n dy_{no}", "dW = dyᵀ · x, db_o = ∑_n dy_{no}"),
    (r"d\hat x = dy\,\gamma", "dx\u0302 = dy γ"),
    (r"y_{batd} = x_{bt(aD + d)}", "y_{batd} = x_{bt(aD + d)}"),
    (r"\ell = -\frac1M \sum_m \ln p_{m y_m}", "ℓ = −(1/M) ∑_m ln p_{m y_m}"),
    (r"y = \frac{a - b}{2c}", "y = (a − b) / (2 c)"), (r"y = \max_k x_k", "y = max_k x_k"),
    (r"y = \frac{\frac{a}{b}}{\frac{c}{d}}", "y = (a / b) / (c / d)"), (r"y = a - (b - c)", "y = a − (b − c)"),
    (r"y = \ln \frac{a}{b} + \frac{a}{b}^2", "y = ln (a / b) + (a / b)²"), (r"y = x^{10} + x^k", "y = x^{10} + x^k"),
    (r"y = \frac{-a}{b} + \frac{a}{-b}", "y = −a / b + a / (−b)"),
    (r"r \sim \mathrm{Bernoulli}(1 - p)", "r ∼ Bernoulli(1 − p)"), (r"y = \sqrt 2\,x", "y = √2 x")])
def test_text_reads_as_in_a_book(latex: str, text: str) -> None:
    assert as_text(latex) == text


@pytest.mark.parametrize(("name", "latex"), FORMULAS)
def test_every_formula_is_one_line_of_text_and_well_formed_mathml(name: str, latex: str) -> None:
    line = as_text(latex)
    assert "\n" not in line and "\\" not in line
    root = ElementTree.fromstring(as_mathml(latex))
    assert root.tag == "math"
    arity = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3, "mover": 2, "munder": 2}
    for element in root.iter():
        assert element.tag in {"math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "msqrt", *arity}
        assert len(element) == arity.get(element.tag, len(element)), element.tag


def test_mathml_has_the_shape_of_the_formula() -> None:
    root = ElementTree.fromstring(as_mathml(r"y_i = \frac{\hat x^2}{\sqrt z},\; w = \sum_j [v_j < 1]"))
    assert [element.tag for element in root] == ["msub", "mo", "mfrac", "mo", "mspace", "mi", "mo", "munder", "mspace",
                                                 "mrow"]
    assert [element.text for element in root.iter("mi")] == ["y", "i", "x", "z", "w", "j", "v", "j"]
    assert "<" not in "".join(root.itertext()).replace("<", "", 1)


@pytest.mark.parametrize(("latex", "wanted"), [
    (r"y = \frac{x", "'}' expected"), ("y = (x", r"'\)' expected"), ("y = x)", "the end expected"),
    (r"y = \unknown x", "a name expected"), ("y = ", "more expected"), ("y = x & z", "something else expected"),
    (r"y = x^)", "a group in braces expected"), (r"y = (x)_i", "no index of anything but a name"),
    (r"y = \mathrm{abc", "'}' expected"), (r"y = \sum_{i + j} x_i", "one letter expected"),
    (r"y = \hat{x + y}", "a name under the accent"), ("a = b = c", "the end expected")])
def test_what_cannot_be_read_is_said_with_its_place(latex: str, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted) as caught:
        parse(latex)
    assert "at character" in str(caught.value)


def test_indices_name_the_last_axes_and_the_others_take_part_elementwise() -> None:
    x, y = RNG.standard_normal((2, 3, 5)), RNG.standard_normal((5, 3))
    found = evaluate(r"z_{ij} = x_{ij} + y_{ji},\; s_i = \sum_j x_{ij}\,y_{ji},\; w_{ji} = 2 x_{ij}", {"x": x, "y": y})
    np.testing.assert_allclose(found["z"], x + y.T)
    np.testing.assert_allclose(found["s"], (x * y.T).sum(-1))
    np.testing.assert_allclose(found["w"], 2 * x.swapaxes(1, 2))
    np.testing.assert_allclose(evaluate("w_{dt} = y_{td}", {"y": y})["w"], y.T)  # d is an index here


def test_n_numbers_all_axes_in_front() -> None:
    x = RNG.standard_normal((2, 3, 5))
    np.testing.assert_allclose(evaluate(r"s_h = \sum_n x_{nh}", {"x": x})["s"], x.sum((0, 1)))
    np.testing.assert_allclose(evaluate(r"y_n = x_n", {"x": x})["y"], x.ravel())


def test_products_are_elementwise_or_of_matrices() -> None:
    a, b = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((3, 3))
    found = evaluate(r"y = a\,b,\; z = a \cdot b^\top,\; w = 3 \cdot 2 a", {"a": a, "b": b})
    np.testing.assert_allclose(found["y"], a * b)
    np.testing.assert_allclose(found["z"], a @ b.T)
    np.testing.assert_allclose(found["w"], 6 * a)


def test_statements_stand_in_any_order_and_define_functions() -> None:
    found = evaluate(r"y = f + \Phi(f),\; f = 2 x,\; \Phi(x) = x^2 + 1", {"x": 3.0})
    assert found == {"y": 43.0, "f": 6.0}


def test_means_capitals_brackets_and_masked_rows() -> None:
    x = RNG.standard_normal((3, 4))
    found = evaluate(r"c = x - \overline x,\; m = \frac1H \sum_h x_h,\; t_{ij} = [i = j]\,x_{ij},\;"
                     r" p = \mathrm{softmax}(z)", {"x": x, "z": np.full(3, -np.inf)})
    np.testing.assert_allclose(found["c"], x - x.mean(-1, keepdims=True))
    np.testing.assert_allclose(found["m"], x.mean(-1))
    np.testing.assert_allclose(found["t"], x * np.eye(3, 4))
    assert found["p"].tolist() == [0, 0, 0]


def test_a_gradient_is_summed_to_the_shape_of_what_it_belongs_to() -> None:
    x, dy = RNG.standard_normal((3, 1)), RNG.standard_normal((2, 3, 5))
    np.testing.assert_allclose(evaluate("dx = dy", {"x": x, "dy": dy})["dx"], dy.sum((0, 2))[:, None])


@pytest.mark.parametrize(("formula", "problem"), [
    ("y = x + z", "does not say what z is"), ("y_i = x_{ij}", "index j stands on the right"),
    (r"y = \sum_k x_{ij}", "nothing under the sum has the index k"), ("y = a,\\; a = y", "does not say what y is"),
    ("y_{ij} = x_{ij} + x_{ji}", "index i runs over|runs over 3 numbers"), ("y_{ijkl} = x_{ijkl}", "too few for 4"),
    (r"y = x \cdot x", "does not fit"), ("y = [x; x]", "blocks cannot be computed"), ("1 = x", "must be a name"),
    ("y_{(i + i)} = z_i", "name each number once"), (r"y = \phi(x)", "does not say what phi is"),
    (r"y = x_i \cdot x_i", "product of matrices has no indices")])
def test_what_cannot_be_computed_is_said(formula: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        evaluate(formula, {"x": RNG.standard_normal((3, 4)), "z": np.arange(3)} if "z_" in formula else
                 {"x": RNG.standard_normal((3, 4))})
