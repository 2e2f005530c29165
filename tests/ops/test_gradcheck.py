"""The check of whole graphs: what it finds, what it refuses, and that it leaves no trace."""

from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import gradcheck
from minibert.errors import InputError
from minibert.nn import EncoderLayer, Initializer
from minibert.ops.registry import REGISTRY
from minibert.tensor import Tensor

from .mutants import MUTANTS, Mutant

RNG = np.random.default_rng(6)


def leaf(*shape: int) -> Tensor:
    return Tensor(np.asarray(RNG.standard_normal(shape)), requires_grad=True)


WITHOUT_DROPOUT_RIGHT = ("drop", "exchanged", "scale")  # what makes no difference where nothing is dropped
IN_AN_ENCODER = [m for m in MUTANTS if m.op in ("layer_norm", "linear", "linear_gelu", "split_heads", "merge_heads")
                 or (m.op == "attention" and "drop" not in m.fault)
                 or (m.op == "add_norm" and not any(word in m.fault for word in WITHOUT_DROPOUT_RIGHT))]


@pytest.mark.parametrize("mutant", IN_AN_ENCODER, ids=[f"{m.op}: {m.fault}" for m in IN_AN_ENCODER])
def test_a_wrong_operation_is_found_inside_a_layer(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same faults as those of single operations, now seen through a residual layer and the graph."""
    pre_norm = mutant.op == "layer_norm"  # in a post-norm layer it is a part of add_norm
    layer = EncoderLayer(6, 3, 7, "gelu", 0.0, 0.0, pre_norm, 1e-12, Initializer(1, 0.5, np.float64))
    for parameter in layer.parameters():
        parameter.assign(parameter.data + 0.3 * RNG.standard_normal(parameter.shape))
    x = leaf(2, 4, 6)
    gradcheck(lambda: layer(x), x, *layer.parameters()).assert_ok()
    monkeypatch.setitem(REGISTRY, mutant.op, mutant.build())
    try:
        report = gradcheck(lambda: layer(x), x, *layer.parameters())
    except InputError as error:  # the graph itself refuses gradients of a wrong shape
        assert "must match its input" in str(error)
    else:
        assert not report.ok


def test_there_are_mutants_in_the_encoder() -> None:
    assert len(IN_AN_ENCODER) >= 25


def test_a_severed_leaf_is_named() -> None:
    x, w = leaf(3), leaf(3)
    w.name = "w"
    report = gradcheck(lambda: x * w.detach(), x, w)
    assert [row.ok for row in report.rows] == [True, False]
    assert "no gradient reaches it" in str(report.rows[1]) and "w" in str(report.rows[1])
    with pytest.raises(AssertionError, match="graph: WRONG"):
        report.assert_ok()


def test_a_half_severed_leaf_is_found() -> None:
    """A gradient that is there, finite, of the right shape, and misses one of two branches."""
    x = leaf(3)
    assert not gradcheck(lambda: x * x.detach(), x).ok


def test_a_result_without_any_gradient_is_rejected() -> None:
    x = leaf(3)
    assert not gradcheck(lambda: F.exp(x.detach()), x).ok


def test_leaves_keep_their_numbers_and_gradients() -> None:
    x = leaf(3, 5)
    x.grad = np.full((3, 5), 0.25)
    data, grad, numbers = x.data, x.grad, x.data.copy()
    gradcheck(lambda: F.tanh(x), x).assert_ok()
    assert x.data is data and x.grad is grad
    np.testing.assert_array_equal(x.data, numbers)
    np.testing.assert_array_equal(x.grad, np.full((3, 5), 0.25))


def test_a_function_that_fails_half_way_leaves_the_numbers_of_the_leaf() -> None:
    x = leaf(3)
    data, calls = x.data, []

    def f() -> Tensor:
        calls.append(None)
        if len(calls) == 4:
            raise KeyError
        return F.exp(x)
    with pytest.raises(KeyError):
        gradcheck(f, x)
    assert x.data is data


def test_a_function_that_changes_its_leaf_is_rejected() -> None:
    x = leaf(3)

    def f() -> Tensor:
        x.data[...] = np.round(x.data)
        return F.exp(x)
    x.data += 0.3
    assert "its numbers were changed" in str(gradcheck(f, x))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: [], "gradcheck needs the leaves"),
    (lambda: [leaf(3) * 2.0], "leaf 0 is not a leaf that requires"),
    (lambda: [leaf(3), Tensor(np.ones(3))], "leaf 1 is not a leaf that requires"),
    (lambda: [Tensor(np.ones(3, np.float32), True)], "checked in float64, and an array here is float32")])
def test_what_cannot_be_checked_is_refused(make: Any, message: str) -> None:
    leaves = make()
    with pytest.raises(InputError, match=message):
        gradcheck(lambda: F.exp(leaves[0]), *leaves)


def test_the_check_does_not_depend_on_the_seed() -> None:
    x, gamma, beta = leaf(3, 5), leaf(5), leaf(5)
    for seed in range(20):
        report = gradcheck(lambda: F.layer_norm(x, gamma, beta), x, gamma, beta, seed=seed, tolerance=1e-8)
        report.assert_ok()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_numbers_of_any_size(scale: float) -> None:
    x, y = leaf(3, 5), leaf(5)
    x.data *= scale
    y.data *= scale
    gradcheck(lambda: x * y + x, x, y).assert_ok()
    gradcheck(lambda: F.softmax(x / scale), x).assert_ok()
