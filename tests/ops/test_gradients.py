"""Every backward is the slope of its forward, and has the properties its formula promises."""

from typing import Any

import numpy as np
import pytest

from minibert.debug.checking.gradcheck import check_op, random_like
from minibert.errors import InputError
from minibert.ops.broadcast import unbroadcast
from minibert.ops.dropout import DropoutKey
from minibert.ops.loss import IGNORE_INDEX
from minibert.ops.registry import REGISTRY

from .cases import NAMED_CASES, arguments, normal


def run(name: str, *args: Any, **hyper: Any) -> tuple[Any, Any, Any]:
    """y, a random dy, and the gradients."""
    y, saved = REGISTRY[name].forward(*args, **hyper)
    dy = random_like(np.random.default_rng(3), np.shape(y))
    return y, dy, REGISTRY[name].backward(dy, *saved)


@pytest.mark.parametrize(("name", "i"), NAMED_CASES)
def test_backward_is_the_slope_of_forward(name: str, i: int) -> None:
    args, hyper = arguments(name, i)
    check_op(name, *args, **hyper).assert_ok()


@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 5), (3, 1), (3, 5), (1, 1), (2, 3, 5), (2, 1, 1),
                                   (1, 3, 5)])
def test_unbroadcast_is_the_adjoint_of_broadcast_to(shape: tuple[int, ...]) -> None:
    """<broadcast(x), d> = <x, unbroadcast(d)> for every x and d."""
    x, d = normal(*shape), normal(4, 2, 3, 5)
    summed = unbroadcast(d, shape)
    assert summed.shape == shape
    np.testing.assert_allclose((np.broadcast_to(x, d.shape) * d).sum(), (x * summed).sum(), rtol=1e-11)


# --- softmax, layer norm, cross-entropy ---------------------------------------------------------------------

def test_rows_of_softmax_gradients_sum_to_zero() -> None:
    _, _, (dx,) = run("softmax", normal(3, 4, 7))
    np.testing.assert_allclose(dx.sum(axis=-1), 0.0, atol=1e-14)
    assert np.abs(dx).max() > 1e-2
    _, _, (dx,) = run("log_softmax", normal(3, 7))
    np.testing.assert_allclose(dx.sum(axis=-1), 0.0, atol=1e-13)


def test_softmax_of_nothing_is_zero_with_zero_gradient() -> None:
    x = normal(3, 5)
    x[1] = -np.inf
    p, _, (dx,) = run("softmax", x)
    assert not p[1].any() and not dx[1].any()
    np.testing.assert_allclose(p[[0, 2]].sum(axis=-1), 1.0)
    assert dx[0].any()


def test_softmax_does_not_overflow() -> None:
    x = np.array([[1e4, 1e4 - 1.0, -1e4]], np.float32)
    p, _ = REGISTRY["softmax"].forward(x)
    np.testing.assert_allclose(p, [[0.7310586, 0.26894143, 0.0]], rtol=1e-6)
    y, _ = REGISTRY["log_softmax"].forward(x)
    np.testing.assert_allclose(y, [[-0.3132617, -1.3132617, -20000.313]], rtol=1e-6)


def test_layer_norm_gradient_is_orthogonal_to_what_is_invisible() -> None:
    x, gamma = normal(3, 4, 7), normal(7)
    _, (xhat, _, _) = REGISTRY["layer_norm"].forward(x, gamma, normal(7))
    _, _, (dx, _, _) = run("layer_norm", x, gamma, normal(7))
    np.testing.assert_allclose(dx.sum(axis=-1), 0.0, atol=1e-13)
    np.testing.assert_allclose((dx * xhat).sum(axis=-1), 0.0, atol=1e-9)  # eps, not 0, in (2)
    assert np.abs(dx).max() > 0.1


def test_layer_norm_of_a_constant_row_is_beta() -> None:
    y, _, gradients = run("layer_norm", np.full((2, 5), 3.7), normal(5), beta := normal(5))
    np.testing.assert_allclose(y, np.broadcast_to(beta, (2, 5)), atol=1e-8)
    assert all(np.isfinite(d).all() for d in gradients)


def test_rows_of_cross_entropy_gradients() -> None:
    """p minus a one-hot row sums to 0; a position without a label gets exactly 0."""
    labels = np.array([[2, IGNORE_INDEX, 0], [IGNORE_INDEX, 4, 4]])
    _, _, (dlogits,) = run("cross_entropy", normal(2, 3, 5), labels)
    np.testing.assert_allclose(dlogits.sum(axis=-1), 0.0, atol=1e-15)
    assert not dlogits[labels == IGNORE_INDEX].any()
    assert (np.abs(dlogits[labels != IGNORE_INDEX]).max(axis=-1) > 1e-2).all()


def test_cross_entropy_of_the_parts_adds_up_to_the_whole() -> None:
    logits, labels = normal(7, 5), np.array([1, IGNORE_INDEX, 0, 4, IGNORE_INDEX, IGNORE_INDEX, 2])
    op = REGISTRY["cross_entropy"]
    whole, saved = op.forward(logits, labels)
    dwhole = op.backward(np.float64(0.7), *saved)[0]
    for cut in range(1, 7):
        losses, gradients = [], []
        for part in (slice(None, cut), slice(cut, None)):
            loss, saved = op.forward(logits[part], labels[part], 4)
            losses.append(loss)
            gradients.append(op.backward(np.float64(0.7), *saved)[0])
        np.testing.assert_allclose(sum(losses), whole, rtol=1e-14)
        np.testing.assert_allclose(np.concatenate(gradients), dwhole, rtol=1e-13)


def test_cross_entropy_without_labels_is_zero() -> None:
    loss, _, (dlogits,) = run("cross_entropy", normal(2, 3), np.full(2, IGNORE_INDEX))
    assert loss == 0.0 and dlogits.shape == (2, 3) and not dlogits.any()


@pytest.mark.parametrize("label", [-1, 5, 100, -101])
def test_labels_that_are_no_class_are_refused(label: int) -> None:
    with pytest.raises(InputError, match=f"label {label} is not a class: labels must be 0 .. 4, or -100"):
        REGISTRY["cross_entropy"].forward(normal(3, 5), np.array([0, label, 4]))


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (6,), (2, 3, 1)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"logits \(2, 3, 5\) need labels \(2, 3\)"):
        REGISTRY["cross_entropy"].forward(normal(2, 3, 5), np.zeros(shape, int))


# --- attention's mask --------------------------------------------------------------------------------------

def test_attention_ignores_masked_keys_and_values() -> None:
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, 5, 4), normal(1, 2, 5, 4)
    mask = np.array([True, True, False, True, False])
    context, _, (_, dk, dv) = run("attention", q, k, v, mask)
    assert not dk[:, :, ~mask].any() and not dv[:, :, ~mask].any()
    k[:, :, ~mask] = v[:, :, ~mask] = 1e3
    np.testing.assert_array_equal(run("attention", q, k, v, mask)[0], context)


def test_attention_refuses_a_mask_to_be_added() -> None:
    q = normal(1, 1, 2, 3)
    with pytest.raises(InputError, match="an attention mask says True where a query may look"):
        REGISTRY["attention"].forward(q, q, q, np.zeros((2, 2)))


def test_attention_takes_a_mask_of_ones_and_zeros() -> None:
    q, mask = normal(1, 1, 3, 2), np.tril(np.ones((3, 3), int))
    np.testing.assert_array_equal(run("attention", q, q, q, mask)[0], run("attention", q, q, q, mask == 1)[0])


# --- kinks and edges ----------------------------------------------------------------------------------------

def test_gradients_at_kinks_are_the_documented_ones() -> None:
    zero, dy = np.zeros(3), np.array([1.5, -2.0, 0.5])
    for name, expected in (("relu", 0.0 * dy), ("sqrt", 0.0 * dy)):
        _, saved = REGISTRY[name].forward(zero)
        np.testing.assert_array_equal(REGISTRY[name].backward(dy, *saved)[0], expected)
    _, saved = REGISTRY["maximum"].forward(zero, zero)
    np.testing.assert_array_equal(REGISTRY["maximum"].backward(dy, *saved), [dy / 2, dy / 2])
    _, saved = REGISTRY["max"].forward(np.array([[1.0, 7.0, 7.0, 7.0], [4.0, 0.0, 1.0, 4.0]]), axis=1)
    (dx,) = REGISTRY["max"].backward(np.array([3.0, -1.0]), *saved)
    np.testing.assert_array_equal(dx, [[0.0, 1.0, 1.0, 1.0], [-0.5, 0.0, 0.0, -0.5]])
    _, saved = REGISTRY["power"].forward(zero, 0)
    np.testing.assert_array_equal(REGISTRY["power"].backward(dy, *saved)[0], 0.0 * dy)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "gelu_tanh", "relu", "softmax"])
def test_large_inputs_stay_finite(name: str) -> None:
    x = np.array([-1e4, -100.0, 0.5, 100.0, 1e4], np.float32)
    y, saved = REGISTRY[name].forward(x)
    (dx,) = REGISTRY[name].backward(np.ones_like(x) * np.float32(0.7), *saved)
    assert np.isfinite(y).all() and np.isfinite(dx).all()


def test_the_two_gelus_are_near_each_other() -> None:
    x = np.linspace(-6.0, 6.0, 2001)
    difference = np.abs(run("gelu", x)[0] - run("gelu_tanh", x)[0]).max()
    assert 1e-4 < difference < 5e-4


@pytest.mark.parametrize("name", ["layer_norm", "linear", "linear_gelu", "softmax", "gelu", "cross_entropy",
                                  "mean", "dropout"])
def test_no_rows_at_all(name: str) -> None:
    """A batch part without a masked position gives empty arrays, not errors."""
    rest = {"layer_norm": (normal(5), normal(5)), "linear": (normal(4, 5), normal(4)), "mean": (1,),
            "linear_gelu": (normal(4, 5), normal(4)),
            "cross_entropy": (np.zeros(0, int),), "dropout": (0.3, DropoutKey(1, 2, 3))}.get(name, ())
    y, saved = REGISTRY[name].forward(np.zeros((0, 5)), *rest)
    dx, *others = REGISTRY[name].backward(np.ones_like(y) * 0.5, *saved)
    assert dx.shape == (0, 5)
    assert all(d.shape == r.shape and not d.any() for d, r in zip(others, rest, strict=False))


def test_matmul_refuses_vectors() -> None:
    with pytest.raises(InputError, match=r"matrices, not arrays of shape \(3, 5\) and \(5,\): reshape"):
        REGISTRY["matmul"].forward(normal(3, 5), normal(5))


@pytest.mark.parametrize("wrong", [-1, 7, -100])
def test_ids_outside_the_table_are_refused(wrong: int) -> None:
    with pytest.raises(InputError, match=f"id {wrong} is no row of this table: ids must be 0 .. 6"):
        REGISTRY["embedding"].forward(normal(7, 3), np.array([[0, wrong, 6]]))
