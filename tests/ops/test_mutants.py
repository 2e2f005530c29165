"""Test the tester: every planted fault is rejected, and so is every way of being vacuous."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert.debug.checking.gradcheck import GradientReport, check_op
from minibert.errors import InputError
from minibert.ops.registry import REGISTRY, Op

from .cases import CASES, arguments
from .mutants import MUTANTS, Mutant, compile_edited

X = np.random.default_rng(5).standard_normal((3, 7))


def reports(op: Op) -> list[GradientReport]:
    """The check on every case of the operation's table."""
    table = [arguments(op.name, i) for i in range(len(CASES[op.name]))]
    with np.errstate(all="ignore"):  # a mutant may well divide by 0
        return [check_op(op, *args, **hyper) for args, hyper in table]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m.op}: {m.fault}" for m in MUTANTS])
def test_mutant_is_rejected(mutant: Mutant) -> None:
    assert not all(report.ok for report in reports(mutant.build()))


@pytest.mark.parametrize("name", REGISTRY)
def test_recompiled_true_pair_is_accepted(name: str) -> None:
    """So it is the fault that is rejected, and not the way in which it was planted."""
    true = REGISTRY[name]
    backward = compile_edited(true.backward, '"""', '"""\n    planted = True')
    for i in range(len(CASES[name])):
        args, hyper = arguments(name, i)
        check_op(true, *args, backward=backward, **hyper).assert_ok()


def test_there_are_enough_mutants_and_every_operation_has_two() -> None:
    counts = Counter(mutant.op for mutant in MUTANTS)
    assert len(set(MUTANTS)) == len(MUTANTS) >= 110
    assert counts.keys() == REGISTRY.keys()
    assert min(counts.values()) >= 2
    assert sum(mutant.of == "forward" for mutant in MUTANTS) >= 10


def test_a_mutant_whose_text_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match="occurs 0 times"):
        Mutant("softmax", "no such line", "", "").build()
    with pytest.raises(ValueError, match="occurs 2 times"):
        Mutant("softmax", "dp", "", "").build()


def zero_backward(dp: Any, p: Any) -> tuple[Any]:
    return (0.0 * p,)


def test_a_cotangent_of_ones_would_accept_a_zero_gradient_and_ours_does_not() -> None:
    p, saved = REGISTRY["softmax"].forward(X)
    (dx,) = REGISTRY["softmax"].backward(np.ones_like(p), *saved)
    np.testing.assert_allclose(dx, zero_backward(np.ones_like(p), p)[0], atol=1e-16)
    report = check_op("softmax", X, backward=zero_backward)
    assert not report.ok
    assert report.rows[0].error == 1.0


def wrong_shape(dy: Any, y: Any) -> tuple[Any]:
    return ((dy * y).sum(axis=0),)


def wrong_dtype(dy: Any, y: Any) -> tuple[Any]:
    return ((dy * y).astype(np.float32),)


def holds_nan(dy: Any, y: Any) -> tuple[Any]:
    dx = dy * y
    dx[0, 0] = np.nan
    return (dx,)


def spoils_saved(dy: Any, y: Any) -> tuple[Any]:
    y *= dy
    return (y,)


def spoils_dy(dy: Any, y: Any) -> tuple[Any]:
    dy *= y
    return (dy,)


def returns_none(dy: Any, y: Any) -> tuple[None]:
    return (None,)


def returns_nothing(dy: Any, y: Any) -> tuple[()]:
    return ()


def one_element_off(dy: Any, y: Any) -> tuple[Any]:
    dx = dy * y
    dx[2, 3] += 1e-5
    return (dx,)


@pytest.mark.parametrize(("backward", "message"), [
    (wrong_shape, r"has shape \(7,\), and it has \(3, 7\)"), (wrong_dtype, "float32, and it is float64"),
    (holds_nan, "NaN or infinity"), (spoils_saved, "saved arrays .* changed by the operation"),
    (spoils_dy, "incoming gradient .* changed by the operation"), (returns_none, "is None"),
    (returns_nothing, "0 for 1 differentiable"), (one_element_off, "analytic .* numeric .* WRONG")])
def test_other_faults_of_a_backward_are_named(backward: Any, message: str) -> None:
    report = check_op("exp", X, backward=backward)
    with pytest.raises(AssertionError, match=message):
        report.assert_ok()
    assert not report.ok


def exp_in_place(x: Any) -> tuple[Any, tuple]:
    np.exp(x, out=x)
    return x, (x,)


def test_a_forward_that_changes_its_input_is_rejected() -> None:
    assert "inputs" in str(check_op(replace(REGISTRY["exp"], forward=exp_in_place), X.copy()))


def test_an_error_of_a_hundred_thousandth_is_seen_in_every_element() -> None:
    for k in range(X.size):
        def off(dy: Any, y: Any, k: int = k) -> tuple[Any]:
            dx = dy * y
            dx.flat[k] *= 1.0 + 1e-5
            return (dx,)
        assert not check_op("exp", 0.1 * X, backward=off).ok


def test_a_kink_at_the_point_is_not_accepted() -> None:
    assert not check_op("relu", np.array([0.0, 1.0, -2.0])).ok


def steps(x: Any) -> tuple[Any, tuple]:
    return np.floor(x * 1e6) * 1e-6 * x, (x,)


def steps_backward(dy: Any, x: Any) -> tuple[Any]:
    return (2.0 * dy * x,)


def test_where_there_is_no_slope_nothing_is_accepted() -> None:
    rough = replace(REGISTRY["exp"], forward=steps, backward=steps_backward)
    assert "no slope to compare with" in str(check_op(rough, X))


def test_a_kink_beside_the_point_is_stepped_around() -> None:
    check_op("relu", np.array([1e-5, 1.0, -2.0, -2e-5])).assert_ok()


def test_a_pole_within_the_first_step_is_stepped_around() -> None:
    check_op("log", np.array([1e-4, 1.0, 2.0])).assert_ok()


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(InputError, match="checked in float64, and an array here is float32"):
        check_op("exp", X.astype(np.float32))
    with pytest.raises(InputError, match="no operation 'exponential'"):
        check_op("exponential", X)


def test_a_gradient_that_is_truly_zero_is_accepted() -> None:
    assert check_op("layer_norm", np.full((2, 1), 3.0), np.array([2.0]), np.array([1.0])).rows[0].ok


def test_the_report_reads_well() -> None:
    text = str(check_op("multiply", X, X[0]))
    head, x, y = text.splitlines()
    assert head == "multiply: ok"
    assert x.split()[0] == "x" and y.split()[0] == "y"
    assert all(word in x for word in ("analytic", "numeric", "error"))


def test_the_readme_counts_the_mutants() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"{len(MUTANTS)} wrong backward passes" in readme
