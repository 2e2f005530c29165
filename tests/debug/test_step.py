"""Each operation once forward and once backward, with the engine's own numbers, and a place to go to and fro."""

import dataclasses
import re

import numpy as np
import pytest
from models.toys import gradients, toy_batch, toy_model

from minibert import AdamW, InputError, Tensor
from minibert import functional as F
from minibert.debug.execution import Execution
from minibert.debug.stepping import Stepper, step
from minibert.graph import Node
from minibert.ops.registry import REGISTRY


def leaf(name: str, values: list) -> Tensor:
    x = Tensor(np.zeros(1), requires_grad=True, name=name)
    x.data = np.array(values, np.float64)
    return x


@pytest.fixture(scope="module")
def toy() -> Stepper:
    return step(toy_model().train()(**toy_batch(), labelled_only=True).loss)


@pytest.fixture
def fork() -> Stepper:
    """x goes three ways: twice into a product and once into a sum."""
    x, y = leaf("x", [[2.0, -3.0, 0.5]]), leaf("y", [[0.3], [-0.7]])
    return step((F.tanh(x * x + y) * x).sum())


def test_the_walk_has_each_operation_once_in_each_phase(toy: Stepper) -> None:
    events = list(toy)
    assert len(events) == len(toy) == 2 * len(toy.nodes)
    assert [event.number for event in events] == list(range(1, len(toy) + 1))
    assert [event.phase for event in events] == ["forward"] * len(toy.nodes) + ["backward"] * len(toy.nodes)
    assert [event.node for event in events] == toy.nodes + toy.nodes[::-1]
    assert {"attention", "add_norm", "cross_entropy", "embedding", "getitem"} <= {e.node.op.name for e in events}


@pytest.mark.parametrize("consumed", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_accumulators_end_as_the_gradients_of_the_engine(consumed: bool, recompute: bool) -> None:
    model, batch = toy_model().train(), toy_batch()
    model.bert.encoder.recompute = recompute
    loss = model(**batch).loss
    if consumed:
        loss.backward()
    last = {c.x.name: c.after for event in step(loss) for c in event.added if not isinstance(c.x, Node)}
    assert consumed or all(p.grad is None for p in model.parameters())
    if not consumed:
        loss.backward()
    found = gradients(model)
    assert last.keys() == found.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(last[name], gradient, rtol=1e-12, atol=1e-14, err_msg=name)


def test_accumulators_follow_each_other_and_are_complete_when_they_are_used(toy: Stepper) -> None:
    sums: dict = {}
    for event in list(toy)[len(toy.nodes):]:
        if event.node in sums:
            assert np.array_equal(event.values[0].array, sums[event.node])
        for c in event.added:
            assert (c.before is None) == (c.x not in sums)
            if c.before is not None:
                assert np.array_equal(c.before, sums[c.x])
            assert np.array_equal(c.after, c.dx if c.before is None else c.before + c.dx)
            sums[c.x] = c.after
    of = Execution(toy.loss).backward().of
    assert all(np.array_equal(sums[x], of[x]) for x in sums)


def test_values_are_those_of_the_forward_pass() -> None:
    x, weight, bias = leaf("x", [[1.0, -2.0, 3.0]]), leaf("w", [[0.1, 0.2, 0.4], [0.5, -0.7, 0.9]]), leaf("b", [5, 6])
    first = step(F.linear(x, weight, bias).sum()).event
    assert first["x"] is not x.data and np.array_equal(first["x"], x.data)
    assert np.allclose(first["y"], [[1 * 0.1 - 2 * 0.2 + 3 * 0.4 + 5, 0.5 + 1.4 + 2.7 + 6]])
    assert first.shapes == "x (1, 3), weight (2, 3), bias (2,) -> y (1, 2)"
    assert [value.note for value in first.values] == ["x", "w", "b", ""]
    with pytest.raises(InputError, match="no 'z' here: choose one of x, weight, bias, y"):
        first["z"]
    with pytest.raises(ValueError, match="read-only"):
        first["x"][0, 0] = 7.0


def test_a_value_that_forks_says_what_was_added_to_what(fork: Stepper) -> None:
    into_x = [(event, c) for event in fork for c in event.added if getattr(c.x, "name", "") == "x"]
    assert [len(c.givers) for _, c in into_x] == [0, 1, 2]
    assert [c.i for _, c in into_x] == [1, 0, 1]
    texts = [str(event) for event, _ in into_x]
    assert re.search("first contribution of 3 to x", texts[0])
    assert re.search(r"contribution 2 of 3 to x, added to what\s+multiply\[1\] gave", texts[1])
    assert re.search(r"contribution 3 of 3 to x, added to what multiply\[1\] and\s+this operation\s+gave", texts[2])
    event = into_x[1][0]
    assert np.array_equal(event["dx before"] + event["dx"], event["dx after"])
    assert np.array_equal(event["dy before"], event["dx after"])  # x * x: its second use, in the same operation


def test_the_sum_that_comes_in_says_that_it_is_one() -> None:
    model = toy_model()
    event = step(model(**toy_batch()).loss).until("backward add_norm", layer=0)
    assert event.values[0].label == "dy" and event.values[0].note == "complete: the sum of 4 contributions"


def test_next_and_back_return_to_equal_events(toy: Stepper) -> None:
    there = [toy.go(1)]
    while toy.number < len(toy):
        there.append(toy.next())
    with pytest.raises(InputError, match="the last step"):
        toy.next()
    again = [toy.event]
    while toy.number > 1:
        again.append(toy.back())
    with pytest.raises(InputError, match="the first step"):
        toy.back()
    assert again[::-1] == there == list(toy) and len(set(there)) == len(there)
    for a, b in zip(there, again[::-1], strict=True):
        assert str(a) == str(b)
        assert all(np.array_equal(x.array, y.array) for x, y in zip(a.values, b.values, strict=True))
    with pytest.raises(InputError, match=f"no step 0: this walk has steps 1 to {len(toy)}"):
        toy.go(0)
    assert toy.number == 1


def test_an_event_shows_everything_in_plain_text() -> None:
    text = str(step(toy_model().train()(**toy_batch()).loss).until("backward attention"))
    assert max(map(len, text.splitlines())) <= 80
    for fact in ("backward   attention", "bert.encoder.layer.1.attention.self", "nn/attention.py", "test_step.py:",
                 "q (B, A, T, D), k, v (B, A, S, D)", "q (7, 3, 11, 5), k (7, 3, 11, 5)", "p = 0.3", "uses     probs",
                 "dcontext 7x3x11x5", "dq ", "dk ", "first contribution", "[0, 0, 0:3, 0:"):
        assert fact in text, fact
    assert "\033" not in text


def test_the_view_is_the_readers(fork: Stepper) -> None:
    fork.view = "1, :2"
    text = str(fork.until("add"))
    assert [text.count(place) for place in ("[0:1, 0:3]", "[1, 0:1]", "[1, 0:2]")] == [1, 1, 1]  # x * x has one row
    assert step(fork.loss, (slice(1), 2)).event.view == (slice(1), 2)
    with pytest.raises(InputError, match="a view is made of"):
        fork.view = 1.5
    assert fork.view == (1, slice(None, 2))


def test_check_agrees_with_true_operations(toy: Stepper) -> None:
    seen = set()
    for number in range(1, len(toy) + 1, 3):
        event = toy.go(number)
        report = toy.check()
        assert report.ok and report.title == event.node.op.name, str(report)
        seen.add(report.title)
    assert {"attention", "linear", "add_norm"} <= seen


def test_check_runs_a_float32_graph_in_float64() -> None:
    x = Tensor(np.array([0.1, -0.2, 0.7], np.float32), requires_grad=True, name="x")
    walk = step((F.softmax(x) * x).sum())
    assert walk.until("backward softmax")["dp"].dtype == np.float32
    assert walk.check().ok


def test_check_finds_a_wrong_backward_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dataclasses.replace(REGISTRY["tanh"], backward=lambda dy, y: (dy * (1.0 - y),))  # y is not squared
    monkeypatch.setitem(REGISTRY, "tanh", wrong)
    walk = step(toy_model()(**toy_batch()).loss)
    walk.until("tanh")
    assert not walk.check().ok and "WRONG" in str(walk.check())
    walk.until("backward tanh")
    assert not walk.check().ok
    walk.next()
    assert walk.check().ok


def test_a_backward_that_returns_no_gradient_of_its_input_is_refused_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for returned in (None, np.ones((2, 1))):
        monkeypatch.setitem(REGISTRY, "tanh", dataclasses.replace(
            REGISTRY["tanh"], backward=lambda dy, y, returned=returned: (returned,)))
        walk = step(F.tanh(leaf("x", [0.3, 0.4, 0.5])).sum())
        before = walk.until(phase="backward")
        with pytest.raises(InputError, match=r"the backward of <tanh .* returned"):
            walk.next()
        assert walk.event == before and walk.back().node.op.name == "sum"


def test_what_cannot_be_walked_through_says_why() -> None:
    with pytest.raises(InputError, match="a single number, and this tensor has shape"):
        step(leaf("x", [1.0, 2.0]) * leaf("y", [1.0, 2.0]))
    with pytest.raises(InputError, match="no graph to look into"):
        step(Tensor(np.float64(3.0)))
    model = toy_model()
    model.bert.encoder.recompute = True
    with pytest.raises(InputError, match="without recomputation"):
        step(model.train()(**toy_batch()).loss).check()


def test_a_parameter_that_changes_during_the_walk_is_reported() -> None:
    model = toy_model()
    loss = model(**toy_batch()).loss
    walk = step(loss)
    loss.backward()
    AdamW(model.parameters()).step()
    with pytest.raises(InputError, match="was changed after"):
        walk.until("linear")
