"""A graph that is run again gives the same bits, whatever was done with it since."""

import numpy as np
import pytest
from models.toys import gradients, toy_batch, toy_model

from minibert import AdamW, InputError, Tensor
from minibert import functional as F
from minibert.debug.execution import Execution


@pytest.mark.parametrize("labelled_only", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("consumed", [False, True])
def test_values_and_gradients_are_those_of_the_engine(labelled_only: bool, recompute: bool, consumed: bool) -> None:
    model, batch = toy_model().train(), toy_batch()
    model.bert.encoder.recompute = recompute
    loss = model(**batch, labelled_only=labelled_only).loss
    if consumed:
        loss.backward()
    execution = Execution(loss)
    if not consumed:
        loss.backward()
    found = execution.backward()
    assert np.array_equal(execution.values[execution.root], loss.data)
    for name, gradient in gradients(model).items():
        mine = next(found.of[leaf] for leaf in execution.leaves if leaf.name == name) if not recompute else next(
            array for leaf, array in found.of.items() if getattr(leaf, "name", "") == name)
        np.testing.assert_allclose(mine, gradient, rtol=1e-12, atol=1e-14, err_msg=name)


def test_looking_changes_nothing() -> None:
    model, batch = toy_model(), toy_batch()
    loss = model(**batch).loss
    Execution(loss).backward()
    assert all(p.grad is None for p in model.parameters())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_float32_graph_is_run_again_in_float64() -> None:
    x = Tensor(np.array([0.1, 0.2, 0.7], np.float32), requires_grad=True)
    execution = Execution((F.softmax(x) * x).sum(), np.float64)
    assert {value.dtype for value in execution.values.values()} == {np.dtype(np.float64)}
    p = np.exp(x.data.astype(float)) / np.exp(x.data.astype(float)).sum()
    assert execution.values[execution.root] == pytest.approx(p @ x.data.astype(float), rel=1e-15)


def test_changed_values_flow_to_all_that_depend_on_them_and_nowhere_else() -> None:
    x, y = (Tensor(np.array(v, np.float64), requires_grad=True) for v in ([2.0, 3.0], [5.0, 7.0]))
    product, total = x * y, x + y
    z = (product + total * total).sum()
    execution = Execution(z)
    assert execution.root_value({}) == 10 + 21 + 49 + 100
    new = execution.rerun({product.node: np.array([0.0, 1.0])})
    assert new[execution.root] == 0 + 1 + 49 + 100 and total.node not in new
    assert execution.root_value({x: np.array([1.0, 1.0])}) == 5 + 7 + 36 + 64


def test_terms_of_a_gradient_are_kept_apart_by_use() -> None:
    x = Tensor(np.array([2.0, 3.0]), requires_grad=True)
    x.data = x.data.astype(np.float64)
    twice = x * x
    execution = Execution((twice + x).sum())
    found = execution.backward()
    assert [(node.op.name, i) for node, i in execution.uses[x]] == [("multiply", 0), ("multiply", 1), ("add", 1)]
    assert [found.terms[use].tolist() for use in execution.uses[x]] == [[2, 3], [2, 3], [1, 1]]
    assert found.of[x].tolist() == [5, 7]


def test_a_leaf_that_was_changed_is_reported() -> None:
    model, batch = toy_model(), toy_batch()
    loss = model(**batch).loss
    loss.backward()
    AdamW(model.parameters()).step()
    with pytest.raises(InputError, match=r"was changed after .* cannot be run again"):
        Execution(loss)
    with pytest.raises(InputError, match="no graph to look into"):
        Execution(Tensor(np.ones(3)))
