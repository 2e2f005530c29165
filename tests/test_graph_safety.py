"""Nothing is silently wrong: consumed graphs, changes behind the graph's back, blocks that record nothing."""

import threading
from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import random_like
from minibert.errors import InputError
from minibert.graph import no_grad, state
from minibert.nn import Parameter
from minibert.tensor import Tensor

RNG = np.random.default_rng(2)


def leaf(*shape: int) -> Tensor:
    return Tensor(np.asarray(RNG.standard_normal(shape)), requires_grad=True)


def weigh(y: Tensor) -> Any:
    """A random cotangent for y."""
    return random_like(np.random.default_rng(7), y.shape)


def test_no_grad_records_nothing_and_ends_with_the_block() -> None:
    x = leaf(3)
    with pytest.raises(KeyError), no_grad():
        with no_grad():
            y = x * x
        assert not (x * x).requires_grad
        raise KeyError
    assert y.node is None and not y.requires_grad
    assert (x * x).requires_grad
    with pytest.raises(InputError, match="nothing to differentiate"):
        y.sum().backward()


def test_no_grad_belongs_to_its_thread() -> None:
    recorded = []
    with no_grad():
        thread = threading.Thread(target=lambda: recorded.append((leaf(3) * 2.0).requires_grad))
        thread.start()
        thread.join()
        recorded.append(state.recording)
    assert recorded == [True, False]


def test_no_grad_leaves_saved_arrays_writable() -> None:
    x = leaf(3)
    with no_grad():
        y = F.exp(x)
    y.data[0] = 0.0
    assert y.data[0] == 0.0


def test_a_second_backward_names_the_node_and_changes_nothing() -> None:
    x = leaf(3)
    y = F.softmax(x)
    dy = weigh(y)
    y.backward(dy)
    before = x.grad.copy()
    with pytest.raises(InputError, match=r"<softmax \(3,\), called at .*safety.py:\d+> was already "
                                         r"used by the backward call at .*test_graph_safety.py:\d+"):
        y.backward(dy)
    np.testing.assert_array_equal(x.grad, before)


def test_two_losses_on_one_graph_must_be_added() -> None:
    x = leaf(3)
    h = F.tanh(x)
    first, second = h.sum(), (h * h).sum()
    first.backward()
    with pytest.raises(InputError, match=r"<tanh .* add the losses and call backward once"):
        second.backward()


def test_a_parameter_changed_after_forward_is_noticed() -> None:
    p = Parameter(RNG.standard_normal(3))
    p.name = "layer.weight"
    y = p * p
    p.assign(np.zeros(3))
    with pytest.raises(InputError, match=r"layer.weight was changed after <multiply .*> had used it"):
        y.backward(weigh(y))
    assert p.grad is None


def test_a_frozen_parameter_changed_after_forward_is_noticed() -> None:
    p, x = Parameter(RNG.standard_normal(3)), leaf(3)
    p.requires_grad = False
    y = p * x
    p.assign(np.zeros(3))
    with pytest.raises(InputError, match="a parameter was changed after <multiply"):
        y.backward(weigh(y))


@pytest.mark.parametrize("f", [F.exp, F.softmax, F.gelu, lambda h: h * h, lambda h: h @ h.transpose()])
def test_saved_intermediate_arrays_are_read_only(f: Any) -> None:
    h = leaf(3, 3) * 1.0
    y = f(h)
    saved = [array for array in (h.data, y.data) if any(array is s for s in y.node.saved)]
    assert saved
    for array in saved:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_a_result_is_read_only_even_where_only_a_view_of_it_is_saved() -> None:
    h = leaf(3, 4) * 1.0
    view = h.reshape(12)
    y = view * view
    with pytest.raises(ValueError, match="read-only"):
        h.data[0] = 0.0
    assert y.node is not None


def test_an_index_cannot_change_before_backward() -> None:
    x = leaf(3, 5)
    places, rows, columns = [0, 1], np.array([0, 1]), np.array([1, 1])
    y = x[places].sum() + x[rows, columns].sum()
    places[0] = 2
    for array in (rows, columns):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2
    y.backward()
    np.testing.assert_array_equal(x.grad, [[1, 2, 1, 1, 1], [1, 2, 1, 1, 1], [0, 0, 0, 0, 0]])


def test_tensors_of_integers_are_indices() -> None:
    x, rows = leaf(3, 5), Tensor(np.array([2, 0]))
    np.testing.assert_array_equal(x[rows].data, x.data[[2, 0]])
    np.testing.assert_array_equal(x[rows, 1:3].data, x.data[[2, 0], 1:3])


def test_constants_given_as_arrays_are_read_only_while_they_are_needed() -> None:
    table, ids, factor = leaf(5, 3), np.array([1, 1]), np.ones((2, 3))
    F.embedding(table, ids) * factor
    for array in (ids, factor):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_leaves_stay_writable_for_optimisers() -> None:
    x = leaf(3)
    (x * x).sum().backward()
    x.data -= 0.1 * x.grad
    assert x.data.flags.writeable
