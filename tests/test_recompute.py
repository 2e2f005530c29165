"""Recomputation: what runs twice has the gradients of what runs once, wherever and however it is used."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import random_like
from minibert.errors import InputError
from minibert.graph import no_grad, state
from minibert.nn import Dropout, Module, Parameter, recompute, seed_dropout
from minibert.tensor import Tensor

RNG = np.random.default_rng(3)


def leaf(*shape: int) -> Parameter:
    return Parameter(RNG.standard_normal(shape))


def same_gradients(once: Callable[[], Tensor], twice: Callable[[], Tensor], *leaves: Tensor) -> None:
    """Both have the same value, and hand every leaf the same gradient."""
    found = []
    for f in (once, twice):
        y = f()
        y.backward(random_like(np.random.default_rng(7), y.shape))
        found.append([y.data, *(x.grad for x in leaves)])
        for x in leaves:
            x.grad = None
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, mine, rtol=1e-13, atol=1e-15)


def test_one_within_another() -> None:
    x, v, w = leaf(3, 4), leaf(4, 4), leaf(4, 4)

    def inner(h: Tensor) -> Tensor:
        return F.tanh(h @ w)

    def outer(h: Tensor) -> Tensor:
        return recompute(inner, F.tanh(h @ v)) * h
    same_gradients(lambda: inner(F.tanh(x @ v)) * x, lambda: recompute(outer, x), x, v, w)


def test_a_parameter_that_is_also_used_elsewhere_and_an_input_that_is_used_twice() -> None:
    x, w = leaf(3, 4), leaf(4, 4)

    def f(h: Tensor) -> Tensor:
        return F.softmax(h @ w) + h
    same_gradients(lambda: f(f(x) @ w) + x, lambda: recompute(f, recompute(f, x) @ w) + x, x, w)


def test_the_gradients_are_nobody_elses() -> None:
    """The function hands one array to its input and to its parameter, and the input gets more afterwards."""
    x, w = leaf(4), leaf(4)
    h = x * 1.0
    y = h * 5.0 + recompute(lambda h: (h + w) * 2.0, h)
    kept = (dy := random_like(RNG, y.shape)).copy()
    y.backward(dy)
    np.testing.assert_allclose(w.grad, 2.0 * kept)
    np.testing.assert_allclose(x.grad, 7.0 * kept)
    np.testing.assert_array_equal(dy, kept)
    assert not np.shares_memory(w.grad, x.grad)


@pytest.mark.parametrize("constant", [np.ones((2, 4)), np.array([1, 3])], ids=["numbers", "ids"])
def test_a_constant_input_leaves_the_gradients_of_the_parameters(constant: np.ndarray) -> None:
    w = leaf(4, 4)

    def f(x: Tensor) -> Tensor:
        return F.exp(x @ w if x.ndim == 2 else F.embedding(w, x))
    same_gradients(lambda: f(Tensor(constant)), lambda: recompute(f, Tensor(constant)), w)


def test_without_a_graph_it_is_a_call() -> None:
    x = leaf(3)
    with no_grad():
        y = recompute(F.exp, x)
    assert y.node is None and not y.requires_grad


def test_backward_may_run_where_no_graph_is_recorded() -> None:
    x = leaf(3)
    y = recompute(F.exp, x)
    with no_grad():
        y.backward(np.ones(3))
        assert not state.recording
    np.testing.assert_allclose(x.grad, np.exp(x.data))


def test_an_error_in_the_second_run_leaves_the_thread_as_it_was() -> None:
    x, calls = leaf(3), []

    def f(h: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise InputError("the second time")
        return F.exp(h)
    y = recompute(f, x)
    with no_grad(), pytest.raises(InputError, match="the second time"):
        y.backward(np.ones(3))
    assert state.recording and state.modules == [] and x.grad is None


def test_an_input_that_has_changed_is_refused() -> None:
    x = leaf(3)
    y = recompute(F.exp, x)
    x.assign(np.zeros(3))
    with pytest.raises(InputError, match="was changed after"):
        y.backward(np.ones(3))


def test_what_it_keeps_cannot_be_changed() -> None:
    x = leaf(3)
    h = x * 2.0
    y = recompute(F.exp, h)
    assert not h.data.flags.writeable and not y.data.flags.writeable and x.data.flags.writeable


class Noisy(Module):
    """Two dropouts around a map."""

    def __init__(self) -> None:
        self.weight = leaf(8, 8)
        self.before, self.after = Dropout(0.4), Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.tanh(self.before(x) @ self.weight))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["this thread", "another thread"])
def test_dropout_drops_the_same_twice(elsewhere: bool) -> None:
    """Also in another thread, whose place in the stream is its own, and after the stream has gone on."""
    noisy, x = Noisy().train(), leaf(5, 8)
    stream = seed_dropout(noisy, 9)
    dy = random_like(RNG, (5, 8))
    found: list[Any] = []
    for f in (noisy, lambda h: recompute(noisy.forward, h, stream), lambda h: recompute(noisy, h),
              lambda h: recompute(partial(noisy), h)):
        stream.seek(3, 2)
        y = f(x)
        stream.seek(8, 1)
        if elsewhere:
            thread = threading.Thread(target=y.backward, args=(dy,))
            thread.start()
            thread.join()
        else:
            y.backward(dy)
        assert (stream.step, stream.row) == (8, 1)
        found.append([y.data, x.grad, noisy.weight.grad])
        x.grad = noisy.weight.grad = None
    for mine, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_array_equal(other, mine)
    assert (found[0][0] == 0.0).any()
