"""check tells a right gradient from a wrong one at any place of a live graph, and disturbs nothing there."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_config, toy_model

from minibert import BertForPreTraining, InputError, Tensor, graph
from minibert import functional as F
from minibert.debug.checking.check import check
from minibert.debug.execution import Execution
from minibert.ops.registry import REGISTRY

RNG = np.random.default_rng(7)


def leaf(*shape: int, name: str = "") -> Tensor:
    return Tensor(RNG.standard_normal(shape), requires_grad=True, name=name) if not shape else Tensor(
        np.asarray(RNG.standard_normal(shape)), requires_grad=True, name=name)


def toy_loss(dtype: Any, **options: Any) -> Tensor:
    model = toy_model() if dtype == np.float64 else BertForPreTraining(toy_config())
    return model.train()(**toy_batch(), **options).loss


@pytest.mark.parametrize(("dtype", "consumed"), [(np.float32, False), (np.float64, True)])
def test_every_operation_and_every_value_of_the_toy_model_is_right(dtype: Any, consumed: bool) -> None:
    loss = toy_loss(dtype, labelled_only=True)
    if consumed:
        loss.backward()
    execution = Execution(loss)
    for node in execution.nodes:
        check(node, directions=1).assert_ok()
    for source in execution.order:
        check(loss, at=source, directions=1).assert_ok()


@pytest.mark.parametrize("op", ["add", "embedding", "layer_norm", "attention", "linear", "linear_gelu", "add_norm",
                                "getitem"])
def test_a_wrong_operation_is_found_where_it_stands(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true = REGISTRY[op]

    def off(dy: Any, *saved: Any) -> tuple:
        first, *rest = true.backward(dy, *saved)
        return (1.0001 * first, *rest)
    monkeypatch.setitem(REGISTRY, op, replace(true, backward=off))
    loss = toy_loss(np.float64)
    for node in Execution(loss).nodes:
        rows = check(node, directions=1).rows
        assert [row.verdict for row in rows] == ["WRONG" if node.op.name == op else "ok", *["ok"] * (len(rows) - 1)]


def test_one_wrong_number_is_found_and_shown_beside_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    true = REGISTRY["linear"]

    def one_off(dy: Any, *saved: Any) -> tuple:
        dx, dweight, dbias = true.backward(dy, *saved)
        dweight[2, 3] *= 1.0 + 1e-5
        return dx, dweight, dbias
    monkeypatch.setitem(REGISTRY, "linear", replace(true, backward=one_off))
    y = F.linear(leaf(7, 5), leaf(3, 5), leaf(3))
    every = check(y, input="weight", entries=True)
    assert [row.along for row in every.rows if row.verdict == "WRONG"] == ["[2, 3]"] and len(every.rows) == 15
    row, = check(y, input="weight", index=(2, 3)).rows
    assert row.analytic / row.slope.value == pytest.approx(1.0 + 1e-5, abs=1e-9)
    assert check(y, input="weight", index=(-2, 3)).ok  # row 1
    assert not check(y, input="weight").ok and check(y, input="x").ok and check(y, input="bias").ok
    assert not check(y.sum(), at=y.node.inputs[1]).ok


def test_a_graph_that_is_right_in_every_pair_may_be_wrong_through_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace_instead_of_add(pending: Any, owned: Any, x: Any, dx: Any, shared: bool) -> None:
        pending[x] = dx
    x = leaf(3, 5, name="x")
    y = F.tanh(x)
    z = (F.exp(y) * y).sum()
    assert check(z, at=x).ok and check(z, at=y).ok
    monkeypatch.setattr(graph, "_add", replace_instead_of_add)
    assert not check(z, at=x).ok and not check(z, at=y, entries=True).ok
    assert all(check(node).ok for node in Execution(z).nodes)


def test_the_gradient_through_the_graph_is_that_of_the_engine() -> None:
    x = leaf(3, 5)
    z = (F.softmax(x) * F.tanh(x)).sum()
    rows = check(z, at=x, entries=True).rows
    z.backward()
    np.testing.assert_allclose([row.analytic for row in rows], x.grad.ravel(), rtol=1e-12)


def test_looking_changes_nothing() -> None:
    model, latest = toy_model(), graph.state.latest
    loss = model(**toy_batch()).loss
    numbers = {name: p.data.copy() for name, p in model.named_parameters()}
    check(loss, at=model.bert.embeddings.word_embeddings.weight)
    check(loss)
    assert all(p.grad is None and np.array_equal(p.data, numbers[name]) for name, p in model.named_parameters())
    assert graph.state.latest is latest and all(node.kept_by is None for node in Execution(loss).nodes)
    loss.backward()


@pytest.mark.parametrize("make", [F.relu, lambda x: F.max(x, axis=0), lambda x: F.maximum(x, 0.0)])
def test_a_kink_is_undecided_and_a_gradient_beyond_it_wrong(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = leaf(3, 5)
    x.data[:, 2] = 0.0
    report = check(make(x), entries=True)
    assert {row.along for row in report.rows if row.verdict == "undecided"} == {"[0, 2]", "[1, 2]", "[2, 2]"}
    assert report.verdict == "undecided" and not report.ok and "a kink within h" in str(report)
    assert {row.verdict for row in report.rows} == {"ok", "undecided"}
    assert check(make(x)).verdict == "undecided"
    assert check(make(x).sum(), at=x).verdict == "undecided"
    true = REGISTRY["relu"]
    monkeypatch.setitem(REGISTRY, "relu", replace(true, backward=lambda dy, y: (-dy * (y >= 0),)))
    assert check(F.relu(x)).verdict == "WRONG"


def test_a_kink_near_the_point_is_no_obstacle() -> None:
    x = leaf(3, 5)
    x.data[1] = 1e-6, -1e-4, 1e-8, -1e-2, 3e-5
    check(F.relu(x), entries=True).assert_ok()


def test_a_pole_near_the_point_is_no_obstacle() -> None:
    y = leaf(3, 5)
    y.data[0] = 1e-5, -1e-4, 1e-3, 1e-2, -1e-6
    check(leaf(3, 5) / y, entries=True).assert_ok()


@pytest.mark.parametrize("name", ["exp", "log", "power", "tanh"])
def test_the_numeric_column_is_the_derivative_within_the_budget(name: str) -> None:
    x = Tensor(np.asarray(RNG.uniform(0.2, 3.0, (3, 5))), requires_grad=True)
    f, derivative = {"exp": (F.exp, np.exp), "log": (F.log, lambda x: 1 / x), "tanh": (
        F.tanh, lambda x: 1 - np.tanh(x) ** 2), "power": (lambda x: x**-3.0, lambda x: -3 * x**-4.0)}[name]
    rows = check(f(x).sum(), at=x, entries=True).rows
    for row, true in zip(rows, derivative(x.data).ravel(), strict=True):
        assert abs(row.slope.value - true) <= row.slope.truncation + row.slope.round_off <= 1e-8 * abs(true)
        assert row.difference == pytest.approx(abs(row.analytic - row.slope.value)) and row.slope.round_off > 0


FAULTS = [(lambda dy, y: ((dy * y).sum(axis=0),), "has shape (5,)"), (lambda dy, y: (None,), "no gradient"),
          (lambda dy, y: ((dy * y).astype(np.float32),), "float32"), (lambda dy, y: (), "no gradient"),
          (lambda dy, y: (dy * y / 0.0,), "NaN or infinity")]


@pytest.mark.parametrize(("backward", "message"), FAULTS)
def test_faults_that_need_no_slope_are_named(backward: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "exp", replace(REGISTRY["exp"], backward=backward))
    with np.errstate(all="ignore"):
        report = check(F.exp(leaf(3, 5)))
    assert not report.ok and message in str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        report.assert_ok()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)


def test_a_report_reads_well_in_a_terminal_and_in_a_page() -> None:
    model = toy_model()
    loss = model(**toy_batch()).loss
    attention = next(node for node in Execution(loss).nodes if node.op.name == "attention")
    thirty = model.bert.embeddings.token_type_embeddings.weight
    for report in (check(attention), check(loss, at=thirty, entries=True)):
        lines = str(report).splitlines()
        assert all(len(line) <= 100 for line in lines if "called at" not in line)
        assert "verdict" in lines[2] and "truncation" in lines[2] and "round-off" in lines[2]
        assert len(lines) < 32
        page = Tags()
        page.feed(report._repr_html_())
        assert page.seen.count("tr") == len(lines) - 2 - ("more;" in lines[-1]) and "script" not in page.seen
    assert "more; of all, " in lines[-1] and lines[0].startswith("d(") and "by the engine: ok" in lines[0]


def test_what_cannot_be_checked_is_refused() -> None:
    x, y = leaf(3, 5, name="x"), leaf(3, 5)
    z = F.layer_norm(x, leaf(5), leaf(5))
    for message, call in {
            "no operation made this tensor": lambda: check(x), "says which number, but not of which": lambda: check(
                z, index=(1, 2)), "no input 'weight'": lambda: check(z, input="weight"),
            r"index \(1,\) is no number of x, which has shape \(3, 5\)": lambda: check(z, input="x", index=(1,)),
            r"index \(3, 0\) is no number": lambda: check(z, input="x", index=(3, 0)),
            "no gradient reaches the tensor given as at": lambda: check(z, at=y),
            "give one of the two": lambda: check(z, at=x, input="x"),
            "has 14,641 numbers": lambda: check(F.tanh(leaf(121, 121)), entries=True)}.items():
        with pytest.raises(InputError, match=message):
            call()
    model = toy_model()
    model.bert.encoder.recompute = True
    with pytest.raises(InputError, match=r"encoder.recompute = False"):
        check(model(**toy_batch()).loss)


def test_an_operation_used_twice_on_one_tensor_and_a_list_of_inputs() -> None:
    x = leaf(3, 5)
    assert [row.input for row in check(x * x, directions=1).rows] == ["x", "y"]
    joined = check(F.concatenate([x, leaf(2, 5), x], axis=0), directions=1)
    assert joined.ok and [row.input for row in joined.rows] == ["xs[0]", "xs[1]", "xs[2]"]
    assert [row.input for row in check(leaf(3, 5) * np.full((3, 5), 2.5), directions=1).rows] == ["x"]
    chosen = check(F.where(RNG.random((3, 5)) < 0.5, x, leaf(3, 5)), directions=1)  # x is argument number 1
    assert chosen.ok and [row.input for row in chosen.rows] == ["x", "y"]


def spoils_dy(dy: Any, y: Any) -> tuple:
    dy *= y
    return (dy,)


def spoils_saved(dy: Any, y: Any) -> tuple:
    y *= dy
    return (y,)


@pytest.mark.parametrize("backward", [spoils_dy, spoils_saved])
def test_a_backward_that_spoils_what_it_was_given_is_wrong(backward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "exp", replace(REGISTRY["exp"], backward=backward))
    x = leaf(3)
    report = check(F.exp(x))
    assert not report.ok and "its backward raised ValueError: output array is read-only" in str(report)


def test_what_would_check_nothing_is_refused() -> None:
    loss = toy_loss(np.float64)
    for directions in (0, -1):
        with pytest.raises(InputError, match=f"directions must be at least 1, not {directions}"):
            check(loss, directions=directions)


@pytest.mark.parametrize("index", [3, (1.5,), (4,), (0, 0), ()])
def test_an_index_that_is_none_is_refused(index: Any) -> None:
    x = leaf(4, name="x")
    with pytest.raises(InputError, match="is no number of x, which has shape"):
        check((x * x).sum(), at=x, index=index)
