"""The graph: what forks is summed, what is consumed is gone, and nothing is silently wrong."""

import itertools
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import gradcheck, random_like
from minibert.errors import InputError
from minibert.graph import Node, topological_order
from minibert.ops.registry import REGISTRY
from minibert.tensor import Tensor, apply

RNG = np.random.default_rng(2)
SHAPES = [  # every two of them broadcast together
    (), (1,), (5,), (1, 5), (3, 1), (3, 5), (1, 1), (2, 1, 5), (2, 3, 1), (1, 3, 5)]


def leaf(*shape: int) -> Tensor:
    return Tensor(np.asarray(RNG.standard_normal(shape)), requires_grad=True)


def number(x: float) -> Tensor:
    return Tensor(np.array(x), requires_grad=True)


def weigh(y: Tensor) -> Any:
    """A random cotangent for y."""
    return random_like(np.random.default_rng(7), y.shape)


# --- forks --------------------------------------------------------------------------------------------------

def test_the_order_in_which_a_reused_value_is_summed() -> None:
    """c = b + b with b = a + a: dc/da = 4, whatever was visited first."""
    a = number(3.0)
    b = (a + a).retain_grad()
    (b + b).backward()
    assert b.grad == 2.0
    assert a.grad == 4.0


def test_a_diamond() -> None:
    a = number(1.5)
    b, c = a * 2.0, F.exp(a)
    (b * c + c).backward()
    assert a.grad == pytest.approx((2 * 1.5 + 2 + 1) * np.exp(1.5), rel=1e-14)


def test_one_tensor_twice_in_one_operation() -> None:
    x = leaf(3, 3)
    for f in (lambda: x * x, lambda: x @ x, lambda: x - x * 0.5, lambda: F.concatenate([x, x, x], axis=1),
              lambda: F.linear(x, x, x[0]),
              lambda: F.attention(*[x.reshape(1, 1, 3, 3)] * 3), lambda: x / x + x):
        gradcheck(f, x).assert_ok()


def test_reuse_of_an_intermediate_value_at_several_depths() -> None:
    x, y = leaf(3, 5), leaf(5)

    def f() -> Tensor:
        h = F.tanh(x * y)
        g = h + F.softmax(h)
        return F.sigmoid(g) * h + g.sum(axis=0) + y
    gradcheck(f, x, y).assert_ok()


def test_gradients_that_are_one_array_do_not_corrupt_each_other() -> None:
    """`add` hands the same dy to both of its inputs, and one of them gets more later on."""
    a, b = leaf(4), leaf(4)
    p, q = a * 1.0, b * 1.0
    y = (p + q) + p * 3.0 + (p + q) * 0.5
    dy = weigh(y)
    kept = dy.copy()
    y.backward(dy)
    np.testing.assert_allclose(a.grad, 4.5 * kept)
    np.testing.assert_allclose(b.grad, 1.5 * kept)
    np.testing.assert_array_equal(dy, kept)


def add_once(x: Any, y: Any) -> tuple[Any, tuple]:
    return x + y, ()


def one_array_twice(dz: Any) -> tuple[Any, Any]:
    dx = dz * 1.0
    return dx, dx


def an_array_and_its_view(dz: Any) -> tuple[Any, Any]:
    dx = dz * 1.0
    return dx[:], dx


@pytest.mark.parametrize("backward", [one_array_twice, an_array_and_its_view])
def test_an_operation_may_return_one_new_array_twice(backward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "add_once", replace(REGISTRY["add"], forward=add_once, backward=backward))
    a, b = leaf(4), leaf(4)
    p, q = a * 1.0, b * 1.0
    z = apply("add_once", p, q)
    y = p * 2.0 + q * 5.0 + z  # z comes first backward, and then q and p get more, one after the other
    y.backward(dy := weigh(y))
    np.testing.assert_allclose(a.grad, 3.0 * dy)
    np.testing.assert_allclose(b.grad, 6.0 * dy)


def test_leaves_own_their_gradients() -> None:
    a, b = leaf(4), leaf(4)
    y = a + b
    dy = weigh(y)
    y.backward(dy)
    a.grad[...] = 0.0
    np.testing.assert_array_equal(b.grad, dy)
    assert not np.shares_memory(b.grad, dy)


def test_forks_whose_branches_return_views() -> None:
    x = leaf(4, 6)

    def f() -> Tensor:
        flat = x.reshape(24)
        turned = x.transpose().reshape(24)
        spread = F.broadcast_to(x[1:2], (4, 6)).reshape(24)
        return flat + turned * 2.0 + spread + flat * flat + F.concatenate([x[0], x[3], x[0], x[2]])
    gradcheck(f, x).assert_ok()


def test_sum_and_mean_hand_out_one_number_many_times() -> None:
    x = leaf(3, 5)
    gradcheck(lambda: x.sum() + x.mean(axis=0) + x.sum(axis=1, keepdims=True) * 2.0 + x, x).assert_ok()


@pytest.mark.parametrize("f", [Tensor.__add__, Tensor.__sub__, Tensor.__mul__, Tensor.__truediv__, F.maximum])
def test_broadcasting_over_all_pairs_of_shapes(f: Any) -> None:
    for a, b in itertools.product(SHAPES, SHAPES):
        x, y = leaf(*a), leaf(*b)
        y.data += np.copysign(0.5, y.data)  # away from the pole of a quotient
        gradcheck(lambda x=x, y=y: f(x, y), x, y, directions=1).assert_ok()


def test_leaves_of_equal_value_are_different_leaves() -> None:
    a, b = number(3.0), number(3.0)
    (a * a * b).backward()
    assert a.grad == 18.0
    assert b.grad == 9.0


def test_a_chain_of_twenty_thousand_operations() -> None:
    x = number(1.0)
    y = x
    for _ in range(20_000):
        y = y + x
    assert len(topological_order(y.node)) == 20_001
    y.backward()
    assert x.grad == 20_001.0
    del y  # nor does forgetting it run out of stack


def test_topological_order_puts_every_node_after_its_inputs() -> None:
    x = leaf(3)
    h = x * x
    y = (h + x) * h
    order = topological_order(y.node)
    assert order[0] is x and order[-1] is y.node and len(order) == len(set(order)) == 4
    for i, source in enumerate(order):
        assert all(order.index(t) < i for t in (source.inputs if isinstance(source, Node) else []))


def test_what_backward_does_not_need_is_forgotten() -> None:
    """The graph keeps what operations saved, and not every value that there was."""
    x = leaf(3)
    h = x + 1.0
    seen = weakref.ref(h)
    y = F.exp(h)
    del h
    assert seen() is None
    y.backward(dy := weigh(y))
    np.testing.assert_allclose(x.grad, dy * np.exp(x.data + 1.0))


def test_gradients_can_be_collected_instead_of_kept() -> None:
    x, w, got = leaf(3, 5), leaf(5, 5), []
    y = (x @ w) @ w
    y.backward(dy := weigh(y), collect=lambda tensor, gradient, free: got.append((tensor, gradient, free)))
    assert {tensor for tensor, _, _ in got} == {x, w} and len(got) == 2
    assert x.grad is w.grad is None
    again = (x @ w) @ w
    again.backward(dy)
    for tensor, gradient, _ in got:
        np.testing.assert_array_equal(gradient, tensor.grad)


def test_only_arrays_that_nobody_else_has_are_free() -> None:
    a, b, free = leaf(4), leaf(4), {}
    y = (a + b) * 1.0
    (y + a * 2.0).backward(weigh(y), collect=lambda tensor, gradient, own: free.update({tensor: own}))
    assert free == {a: True, b: False}  # a's two contributions made a new array; b was handed y's own gradient


def test_a_table_used_twice_is_added_to_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that a batch looks up are added to the gradient that the output layer has made already."""
    table, ids = leaf(7, 3), np.array([[1, 1, 4], [6, 1, 0]])

    def f() -> Tensor:
        return F.linear(F.tanh(F.embedding(table, ids)), table) + F.embedding(table, ids)[..., :1]
    gradcheck(f, table).assert_ok()
    got, given, backward = [], [], REGISTRY["embedding"].backward

    def seen(dy: Any, ids: Any, table_shape: Any, into: Any = None) -> Any:
        given.append(into)
        return backward(dy, ids, table_shape, into)

    monkeypatch.setitem(REGISTRY, "embedding", replace(REGISTRY["embedding"], backward=seen))
    y = f()
    y.backward(weigh(y), collect=lambda tensor, gradient, free: got.append(gradient))
    assert len(got) == 1 and given[0] is None and given[1] is got[0]


def test_a_gradient_stored_column_by_column_is_added_to_as_well() -> None:
    """Its flattened copy is no view: what a lookup adds there must not be lost."""
    table, ids = leaf(7, 3), np.array([[1, 1, 4], [6, 1, 0]])

    def f() -> Tensor:
        x = F.tanh(F.embedding(table, ids))
        return x @ table.transpose() + (x * x) @ table.transpose()  # two turned gradients, and their sum is turned
    gradcheck(f, table).assert_ok()


def test_a_gradient_that_is_not_ours_is_not_added_to_in_place() -> None:
    """`add` hands dy itself to the table, and then a lookup adds to the table's gradient."""
    table, other, ids = leaf(5, 3), leaf(5, 3), np.array([0, 0, 4, 2, 1])
    y = F.embedding(table, ids) + (table + other)
    kept = (dy := weigh(y)).copy()
    y.backward(dy)
    np.testing.assert_array_equal(dy, kept)
    np.testing.assert_array_equal(other.grad, kept)
    expected = kept.copy()
    np.add.at(expected, ids, kept)
    np.testing.assert_allclose(table.grad, expected)


def test_a_consumed_graph_is_refused_before_anything_is_added() -> None:
    x = leaf(3)
    y = (x * 3.0).retain_grad()
    y.backward(dy := weigh(y))
    with pytest.raises(InputError, match="already used"):
        y.backward(dy)
    np.testing.assert_array_equal(y.grad, dy)
    np.testing.assert_allclose(x.grad, 3.0 * dy)


# --- when there is a gradient, and when there is none -------------------------------------------------------

def test_grad_is_none_until_it_is_computed() -> None:
    x, unused = leaf(3), leaf(3)
    h = x * 2.0
    y = (h * h).sum()
    assert x.grad is h.grad is y.grad is None
    y.backward()
    assert h.grad is y.grad is unused.grad is None
    np.testing.assert_allclose(x.grad, 8.0 * x.data)


def test_gradients_add_up_over_two_passes() -> None:
    x = leaf(3)
    for _ in range(2):
        (x * x).sum().backward()
    np.testing.assert_allclose(x.grad, 4.0 * x.data)


def test_a_kept_intermediate_gradient_adds_up_only_where_it_is_kept() -> None:
    x = leaf(3)
    h = (x * 3.0).retain_grad()
    y = h * h
    dy = weigh(y)
    y.backward(dy)
    np.testing.assert_allclose(h.grad, 2.0 * h.data * dy)
    np.testing.assert_allclose(x.grad, 6.0 * h.data * dy)
    assert not np.shares_memory(h.grad, x.grad)


def test_backward_of_a_leaf_is_the_cotangent() -> None:
    x = leaf(3)
    dy = weigh(x)
    x.backward(dy)
    x.backward(dy)
    np.testing.assert_array_equal(x.grad, 2.0 * dy)


def test_the_gradient_of_a_single_number_is_an_array() -> None:
    """So that clipping may change it in place, as it does with all others."""
    x = number(3.0)
    (x * x).backward()
    assert type(x.grad) is np.ndarray
    grad = x.grad
    (x * x).backward()
    assert x.grad is grad and grad == 12.0


def test_constants_get_no_gradient_and_cost_no_node() -> None:
    x, c = leaf(3), Tensor(np.ones(3))
    assert (c * c).node is None
    (x * c).sum().backward()
    assert c.grad is None


def test_detach_cuts_the_graph() -> None:
    x = leaf(3)
    (x * x.detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, x.data)


def test_what_a_leaf_got_is_freed_before_the_next_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large gradient that `collect` added to another one does not stay while the next backward needs memory."""
    true, given, alive = REGISTRY["exp"], [], []

    def watched(dy: Any, y: Any) -> Any:
        alive.append([gradient() is not None for gradient in given])
        return true.backward(dy, y)
    monkeypatch.setitem(REGISTRY, "exp", replace(true, backward=watched))
    x, weight, bias = leaf(3, 5), leaf(4, 5), leaf(4)
    y = F.linear(F.exp(x), weight, bias)
    y.backward(weigh(y), lambda x, dx, free: given.append(weakref.ref(dx)))
    assert alive == [[False, False]] and len(given) == 3
