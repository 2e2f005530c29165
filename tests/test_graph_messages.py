"""What a node, a tensor and a refusal say."""

from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import random_like
from minibert.errors import InputError
from minibert.graph import state
from minibert.nn import Module
from minibert.tensor import Tensor, apply

RNG = np.random.default_rng(2)


def leaf(*shape: int) -> Tensor:
    return Tensor(np.asarray(RNG.standard_normal(shape)), requires_grad=True)


def weigh(y: Tensor) -> Any:
    """A random cotangent for y."""
    return random_like(np.random.default_rng(7), y.shape)


class Outer(Module):
    def __init__(self) -> None:
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Inner(Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x)


def test_a_node_tells_its_operation_module_and_line() -> None:
    y = Outer()(leaf(3, 5))
    text, (place, line) = repr(y.node), y.node.line.rsplit(":", 1)
    assert text == f"<gelu (3, 5) in inner, called at {y.node.line}>"
    assert place == __file__
    with open(__file__, encoding="utf-8") as file:
        assert file.read().splitlines()[int(line) - 1] == "        return F.gelu(x)"
    assert state.modules == []


def test_a_module_that_fails_leaves_no_trace() -> None:
    with pytest.raises(InputError):
        Outer()(leaf(3) @ leaf(3, 3))
    with pytest.raises(AttributeError):
        Outer()(3)
    assert state.modules == []


def test_a_tensor_shows_its_name_shape_origin_and_numbers() -> None:
    x = Tensor(np.arange(3, dtype=np.float32), requires_grad=True, name="x")
    assert repr(x) == "Tensor(x (3,) float32, requires_grad, 0 .. 2, norm 2.236, [0. 1. 2.])"
    assert repr(x * 2) == "Tensor((3,) float32, by multiply, 0 .. 4, norm 4.472, [0. 2. 4.])"
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 300


@pytest.mark.parametrize(("dy", "message"), [
    (None, r"backward\(\) without dy needs a single number, and this tensor has shape \(3,\)"),
    (np.ones(4), r"dy must be float64 of shape \(3,\), not float64 of shape \(4,\)"),
    (np.ones((3, 1)), r"not float64 of shape \(3, 1\)"),
    (np.ones(3, np.float32), r"not float32 of shape \(3,\)"),
    (0.5, "dy must be an array, float64 of shape .* not a float"),
    (Tensor(np.ones(3)), "dy must be an array, .* not a Tensor")])
def test_wrong_cotangents_are_refused(dy: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        (leaf(3) * 2.0).backward(dy)


@pytest.mark.parametrize(("f", "message"), [
    (lambda: leaf(3, 5) + leaf(4), r"add cannot take arrays of shape \(3, 5\), \(4,\); it maps x, y"),
    (lambda: leaf(3, 5) @ leaf(4, 2), r"matmul cannot take arrays of shape \(3, 5\), \(4, 2\)"),
    (lambda: F.linear(leaf(3, 5), leaf(4, 3), leaf(4)), r"linear cannot take .*weight \(O, I\)"),
    (lambda: F.layer_norm(leaf(3, 5), leaf(4), leaf(4)), "layer_norm cannot take"),
    (lambda: F.split_heads(leaf(2, 3, 5), 2), r"split_heads cannot take arrays of shape \(2, 3, 5\)"),
    (lambda: F.attention(leaf(1, 1, 2, 3), leaf(1, 1, 2, 4), leaf(1, 1, 2, 3)), "attention cannot take"),
    (lambda: leaf(3, 5).reshape(4, 4), r"reshape cannot take arrays of shape \(3, 5\)"),
    (lambda: leaf(3, 5)[7], "getitem cannot take .*out of bounds"),
    (lambda: leaf(3, 5).sum(axis=2), "sum cannot take .*out of bounds"),
    (lambda: F.concatenate([leaf(3, 5), leaf(3)]),
     r"concatenate cannot take arrays of shape \(3, 5\), \(3,\)")])
def test_shapes_that_do_not_fit_are_named_with_their_operation(f: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        f()


def test_mixed_dtypes_are_refused() -> None:
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(InputError, match="add got arrays of float32 and float64: a graph has one"):
        x + leaf(3)
    with pytest.raises(InputError, match="layer_norm got arrays of float32 and float64"):
        F.layer_norm(x, leaf(3), leaf(3))


def test_a_gradient_that_does_not_match_its_input_is_refused() -> None:
    """A bias of length 1 would broadcast forward, and its gradient would have another shape."""
    weight, bias = leaf(4, 5), leaf(1)
    y = F.linear(leaf(3, 5), weight, bias)
    with pytest.raises(InputError, match=r"linear .* returned a gradient of float64 and shape \(4,\)"):
        y.backward(weigh(y))


def test_only_floating_point_tensors_have_gradients() -> None:
    with pytest.raises(InputError, match="only floating-point tensors have gradients, and this one is int64"):
        Tensor(np.arange(3), requires_grad=True)


@pytest.mark.parametrize("data", ["text", ["a", "b"], None, [None, 1.0]])
def test_a_tensor_is_made_of_numbers(data: Any) -> None:
    with pytest.raises(InputError, match="a tensor is made of numbers, not of"):
        Tensor(data)


def test_a_tensor_of_a_tensor_is_refused() -> None:
    with pytest.raises(InputError, match="a tensor is made of numbers, not of Tensor"):
        Tensor(leaf(3))


def test_iterating_ends_at_the_last_row() -> None:
    x = leaf(3, 5)
    first, second, third = x
    (first * third + second).sum().backward()
    np.testing.assert_array_equal(x.grad, [x.data[2], np.ones(5), x.data[0]])
    assert len(x) == 3


def test_apply_takes_arrays_for_constants() -> None:
    x = leaf(3)
    y = apply("multiply", np.array([1.0, 2.0, 3.0]), x)
    y.backward(np.array([0.5, -1.0, 2.0]))
    np.testing.assert_array_equal(x.grad, [0.5, -2.0, 6.0])
