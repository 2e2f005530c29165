"""bisect names the wrong thing, and only a wrong one: an operation's pair, a sum at a fork, a graph that is cut."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models.toys import gradients, toy_batch, toy_config, toy_model
from ops.mutants import Mutant

from minibert import BertForPreTraining, InputError, Tensor, graph
from minibert import functional as F
from minibert.debug.checking import bisect as bisect_module
from minibert.debug.checking.bisect import Search, bisect
from minibert.debug.checking.replica import engine_gradients, float64_graph
from minibert.debug.execution import Execution
from minibert.nn import Embedding, Linear
from minibert.ops.registry import REGISTRY

RNG = np.random.default_rng(8)
LAYER, HEAD, IN = "bert.encoder.layer.1", "cls.predictions.transform", "bert.embeddings"
MEAN = ", as if a mean stood for a sum"
REPEATS = "right where a number was read once"


def leaf(*shape: int, name: str = "") -> Tensor:
    return Tensor(np.asarray(RNG.standard_normal(shape)), requires_grad=True, name=name)


# a wrong operation, the first module in the order of backward that has it, the input, what is said of it
PLANTED = [
    (Mutant("add", "unbroadcast(dz, y_shape)", "-unbroadcast(dz, y_shape)", ""), "", "y", "the wrong sign"),
    (Mutant("add", "unbroadcast(dz, x_shape)", "unbroadcast(dz, x_shape) * 0.0", ""), "", "x", "zero, and must not be"),
    (Mutant("add", "unbroadcast(dz, y_shape)", "dz", ""), IN, "y", "shape (7, 11, 15), and it has (11, 15)"),
    (Mutant("embedding", "xp.add.at(flat, places.reshape(-1), dy.reshape(-1))", "dtable[ids] += dy", ""),
     f"{IN}.token_type_embeddings", "table", REPEATS),
    (Mutant("embedding", "(dtable,)", "(dtable / max(ids.size, 1),)", ""), f"{IN}.position_embeddings", "table",
     f"11 x too small; 11 is the number of rows of the result{MEAN}"),
    (Mutant("getitem", "xp.add.at(dx.reshape(-1), places.reshape(-1), dy.reshape(-1))", "dx[index] += dy", ""),
     f"{LAYER}.attention", "x", REPEATS),
    (Mutant("getitem", "dx[index] = dy", "pass", ""), "bert.pooler", "x", "zero, and must not be"),
    (Mutant("linear", "column_sums(dy_rows)", "dy_rows.mean(axis=0)", ""), "cls.seq_relationship", "bias",
     f"7 x too small; 7 is the number of rows of the result{MEAN}"),
    (Mutant("linear", "(dy_rows @ weight)", "(2.0 * dy_rows @ weight)", ""), "cls.seq_relationship", "x",
     "2 x too large"),
    (Mutant("linear", "return dx, dweight, dbias", "return dx, dweight, None", ""), "cls.seq_relationship", "bias",
     "no gradient was returned"),
    (Mutant("layer_norm", "    dx -= shift\n", "", ""), f"{HEAD}.LayerNorm", "x",
     "off by the same number all along axis 1"),
    (Mutant("layer_norm", "return dx, dgamma, dbeta", "return dx, dbeta, dgamma", ""), f"{HEAD}.LayerNorm", "gamma",
     "the numbers that belong here were returned as dbeta"),
    (Mutant("layer_norm", "dbeta = dy.reshape(-1, H).sum(axis=0)", "dbeta = dy.reshape(-1, H).mean(axis=0)", ""),
     f"{HEAD}.LayerNorm", "beta", f"13 x too small; 13 is the number of rows of the result{MEAN}"),
    (Mutant("attention", "(k * q.shape[-1] ** -0.5)", "k", ""), f"{LAYER}.attention.self", "q",
     "2.23607 x too large; that is the root of 5"),
    (Mutant("attention", "return dq, dk, dv", "return dq, dv, dk", ""), f"{LAYER}.attention.self", "k",
     "the numbers that belong here were returned as dv"),
    (Mutant("attention", "    dscores *= probs", "    pass", ""), f"{LAYER}.attention.self", "q", "wrong in "),
    (Mutant("merge_heads", "split_heads(dy, heads)[0]", "dy.reshape(dy.shape[0], heads, dy.shape[1], -1)", ""),
     f"{LAYER}.attention.self", "x", "axes are permuted, (0, 2, 1, 3)"),
    (Mutant("add_norm", "return dh, ds, dgamma, dbeta", "return ds, dh, dgamma, dbeta", ""), f"{LAYER}.output", "h",
     "were returned as dx"),
    (Mutant("dropout", "(keep, scale)", "(keep, 1.0 - p)", "", "forward"), f"{IN}.dropout", "x", "1.56249 x too small"),
    (Mutant("add_norm", "column_sums(dh)", "dh.reshape(-1, dh.shape[-1]).mean(axis=0)", ""), f"{LAYER}.output", "bias",
     f"21 x too small; 21 is the number of rows of the result{MEAN}"),
    (Mutant("linear_gelu", "gelu_backward(dy, h, cdf)", "(dy * cdf,)", ""), HEAD, "x",
     "wrong in 195 of 195 numbers, most at ["),
    (Mutant("tanh", "1.0 - y * y", "1.0 - y", ""), "bert.pooler", "x", "wrong in 105 of 105 numbers"),
    (Mutant("cross_entropy", "-= dloss * scale", "-= scale", ""), "", "logits", "wrong in 7 of 14 numbers")]


@pytest.mark.parametrize(("mutant", "module", "name", "words"), PLANTED,
                         ids=[f"{m.op}: {m.old} -> {m.new}".strip() for m, *_ in PLANTED])
def test_a_wrong_pair_is_named_with_its_place_and_its_fault(mutant: Mutant, module: str, name: str, words: str,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, mutant.op, mutant.build())
    model = toy_model().train()
    found = bisect(model(**toy_batch(), labelled_only=True).loss)
    assert (found.kind, found.ok, found.node.op.name) == ("pair", False, mutant.op)
    assert (found.node.module, found.input) == (module, name)
    assert found.details[0].startswith(f"d{name}: ") and words in found.details[0]
    text = str(found)
    assert text.startswith(f"first wrong operation: {mutant.op}") and "test_bisect.py" in text and "WRONG" in text
    with pytest.raises(AssertionError, match="first wrong operation"):
        found.assert_ok()


def search(loss: Tensor) -> Search:
    execution, dy = float64_graph(loss.node), np.ones(())
    return Search(execution, engine_gradients(execution, dy), dy, 0)


@pytest.mark.parametrize("number", range(4))
def test_one_wrong_call_among_many_of_the_same_operation_is_found(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one linear map of the model is wrong, and by little: the others, nearer and farther, are not accused."""
    model = toy_model(hidden_act="gelu_new").train()  # whose linear maps are all operations of their own
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    victim = layers[(3 * number + 1) % (len(layers) - 1)].weight  # not the decoder, which is given a table
    true = REGISTRY["linear"]

    def off(dy: Any, x: Any, weight: Any, has_bias: bool) -> tuple:
        dx, dweight, dbias = true.backward(dy, x, weight, has_bias)
        return (1.001 * dx if weight is wrong[0] or np.array_equal(weight, victim.data) else dx), dweight, dbias
    wrong = [victim.data]
    monkeypatch.setitem(REGISTRY, "linear", replace(true, backward=off))
    loss = model(**toy_batch(), labelled_only=True).loss
    found = bisect(loss)
    assert found.kind == "pair" and found.input == "x" and found.node.args[1] is victim
    assert search(loss).first_wrong_value() is found.node.inputs[0]
    assert "1.001 x too large" in found.details[0]


def test_the_search_ends_at_the_only_wrong_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = Mutant("linear", "column_sums(dy_rows)", "dy_rows.mean(axis=0)", "")
    monkeypatch.setitem(REGISTRY, "linear", mutant.build())
    x, weight, bias = leaf(7, 5), leaf(3, 5), leaf(3, name="bias")
    assert search(F.linear(x, weight, bias).sum()).first_wrong_value() is bias


def test_the_search_goes_on_beside_the_way_where_it_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of backward: right, wrong (the short branch), right (the long one), and wrong at the leaf."""
    monkeypatch.setitem(REGISTRY, "exp", replace(REGISTRY["exp"], backward=lambda dy, y: (0.5 * dy * y,)))
    x = leaf(3, 5, name="x")
    long, short = x * 0.3, x * 0.2
    for _ in range(30):
        long = long * RNG.uniform(0.9, 1.1)
    before_exp = short * 0.7
    z = (long + F.exp(before_exp)).sum()
    assert search(z).first_wrong_value() is before_exp.node
    assert bisect(z).node.op.name == "exp"


def last_only(pending: Any, owned: Any, x: Any, dx: Any, shared: bool) -> None:
    pending[x] = dx


def first_only(pending: Any, owned: Any, x: Any, dx: Any, shared: bool) -> None:
    pending.setdefault(x, dx)


@pytest.mark.parametrize(("add", "there", "missing"), [(last_only, "exp", "multiply"), (first_only, "multiply", "exp")])
def test_a_sum_at_a_fork_that_keeps_one_contribution_is_found(add: Any, there: str, missing: str,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_add", add)
    x = leaf(3, 5, name="x")
    y = F.tanh(x)
    found = bisect((F.exp(y) * y).sum())
    assert (found.kind, found.input, found.node.op.name) == ("fork", "tanh", missing)
    assert "used 2 times" in found.headline and "test_bisect.py" in found.headline
    assert sorted(line.split(",")[0] for line in found.details) == sorted(
        [f"there: {'y' if there == 'multiply' else 'x'} of {there}",
         f"missing: {'y' if missing == 'multiply' else 'x'} of {missing}"])


def test_a_wrong_sum_is_found_in_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_add", last_only)
    model = toy_model().train()
    found = bisect(model(**toy_batch(), labelled_only=True).loss)
    assert found.kind == "fork" and found.input == f"{LAYER}.output:add_norm"
    assert [line.split(":")[0] for line in sorted(found.details)] == ["missing", "there"]


def test_a_leaf_that_is_used_three_times_and_gets_two_contributions(monkeypatch: pytest.MonkeyPatch) -> None:
    true, seen = graph._add, []

    def forgets_the_second(pending: Any, owned: Any, x: Any, dx: Any, shared: bool) -> None:
        seen.append(x)
        if not (isinstance(x, Tensor) and sum(y is x for y in seen) == 2):
            true(pending, owned, x, dx, shared)
    monkeypatch.setattr(graph, "_add", forgets_the_second)
    x = leaf(3, 5, name="x")
    found = bisect((F.exp(x) + F.tanh(x) + F.softmax(x) * leaf(3, 5)).sum())
    assert found.kind == "fork" and found.input == "x" and found.node.op.name == "tanh"
    assert [line.split(":")[0] for line in found.details] == ["there", "missing", "there"]


def constant_table(self: Embedding, ids: Any) -> Tensor:
    return F.embedding(Tensor(self.weight.data), ids)


def constant_rows(self: Embedding, ids: Any) -> Tensor:
    return Tensor(self.weight.data[ids])


def scaled_rows(self: Embedding, ids: Any) -> Tensor:
    return Tensor(1.25 * self.weight.data[ids])  # nothing of the table itself is in the graph


def cut_lookup(model: BertForPreTraining, how: Callable[[Embedding, Any], Tensor], which: str,
               monkeypatch: pytest.MonkeyPatch) -> None:
    victim, true = getattr(model.bert.embeddings, which), Embedding.forward
    monkeypatch.setattr(Embedding, "forward", lambda self, ids: (how if self is victim else true)(self, ids))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [constant_table, constant_rows])
def test_a_lookup_through_data_is_a_cut_that_the_graph_alone_shows(dtype: Any, how: Any,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model() if dtype == np.float64 else BertForPreTraining(toy_config())
    cut_lookup(model, how, "word_embeddings", monkeypatch)
    found = bisect(model(**toy_batch()).loss)
    assert (found.kind, found.node.op.name, found.node.module, found.input) == ("cut", "add", IN, "x")
    assert "was given rows of bert.embeddings.word_embeddings.weight, as a constant" in found.headline


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("which", "words"), [("word_embeddings", "one of its uses is not in the graph"),
                                              ("token_type_embeddings", "gets no gradient: no graph leads to it")])
def test_a_cut_that_leaves_no_trace_is_found_by_running_the_model(dtype: Any, which: str, words: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Word embeddings still get a gradient from the decoder: half a gradient, of the right shape."""
    model = (toy_model() if dtype == np.float64 else BertForPreTraining(toy_config())).train()
    cut_lookup(model, scaled_rows, which, monkeypatch)
    batch = toy_batch()
    assert bisect(model(**batch).loss).ok
    found = bisect(lambda: model(**batch).loss, model)
    assert (found.kind, found.input) == ("cut", f"bert.embeddings.{which}.weight") and words in found.headline


def test_a_detached_result_is_found() -> None:
    y = F.tanh(leaf(3, 5))
    found = bisect((F.exp(y) * y.detach()).sum())
    assert (found.kind, found.node.op.name, found.input) == ("cut", "multiply", "y")
    assert "given the numbers of tanh, as a constant" in found.headline
    assert bisect((F.exp(y) * np.full((3, 5), 0.7) + RNG.standard_normal((3, 5))).sum()).ok


def test_parameters_without_a_gradient_are_noted_and_cleared_if_unused() -> None:
    model, batch = toy_model(), toy_batch()
    del batch["next_sentence_label"]
    found = bisect(model(**batch).loss, model)
    assert found.ok and "no gradient reaches bert.pooler.dense.weight" in str(found) and "cut" in str(found)
    found = bisect(lambda: model(**batch).loss, model)
    assert found.ok and not found.notes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labelled_only", [False, True])
def test_a_right_model_is_right(seed: int, dtype: Any, labelled_only: bool) -> None:
    model = toy_model(seed) if dtype == np.float64 else BertForPreTraining(toy_config(), seed=seed)
    batch = toy_batch(seed)
    found = bisect(lambda: model.train()(**batch, labelled_only=labelled_only).loss, model, seed=seed)
    assert found.kind == "ok" and found.ok, str(found)
    assert str(found) == f"all {46 if labelled_only else 44} operations and 6 forks are right"


@pytest.mark.parametrize("overrides", [
    {"norm_position": "pre"}, {"position_embedding_type": "sinusoidal"}, {"hidden_act": "gelu_new"},
    {"hidden_act": "relu"}, {"tie_word_embeddings": False}])
def test_other_models_are_right_too(overrides: dict[str, Any]) -> None:
    batch = toy_batch(1)
    for model in (toy_model(**overrides), BertForPreTraining(toy_config(**overrides))):
        bisect(lambda model=model: model(**batch).loss, model).assert_ok()


@pytest.mark.parametrize("lengths", [(1, 1, 1), (1,), (5, 5, 5), (9, 1, 3)])
def test_texts_of_any_length_are_right(lengths: tuple[int, ...]) -> None:
    model = toy_model().train()
    for labelled_only in (False, True):
        bisect(model(**toy_batch(2, lengths), labelled_only=labelled_only).loss).assert_ok()


def test_a_kink_is_not_called_wrong() -> None:
    x = leaf(3, 5)
    found = bisect((F.relu(x * 0.0) * 3.0).sum())
    assert found.ok and "nothing is wrong in 4 operations and 0 forks, as far as can be told" in str(found)
    assert "undecided: dx of relu, a kink within h" in str(found)


def test_looking_changes_nothing() -> None:
    model, batch = toy_model().train(), toy_batch()
    stream = model.bert.dropout_stream
    stream.seek(5, 14)
    numbers = {name: (p.data, p.data.copy()) for name, p in model.named_parameters()}
    bisect(lambda: model(**batch).loss, model)
    assert (stream.step, stream.row) == (5, 14)
    assert all(p.data is numbers[name][0] and np.array_equal(p.data, numbers[name][1]) and p.grad is None
               for name, p in model.named_parameters())
    loss = model(**batch).loss
    first = str(bisect(loss))
    loss.backward()
    before = {name: p.grad.copy() for name, p in model.named_parameters()}
    assert str(bisect(loss)) == first
    assert all(np.array_equal(g, before[name]) for name, g in gradients(model).items())


def test_the_number_of_slopes_through_the_graph_is_logarithmic(monkeypatch: pytest.MonkeyPatch) -> None:
    y = leaf(3, 5, name="x")
    for _ in range(100):
        y = y * RNG.uniform(0.9, 1.1) + leaf(5)
    monkeypatch.setitem(REGISTRY, "exp", replace(REGISTRY["exp"], backward=lambda dy, y: (0.5 * dy * y,)))
    y = F.exp(y * 0.01)
    for _ in range(70):
        y = y * RNG.uniform(0.9, 1.1) + leaf(5)
    calls, true = [], bisect_module.compare_jointly
    monkeypatch.setattr(bisect_module, "compare_jointly", lambda *args: calls.append(1) or true(*args))
    found = bisect(y.sum())
    assert found.node.op.name == "exp" and "2 x too small" in found.details[0]
    assert 10 < len(calls) <= 2 * np.log2(len(Execution(y.sum()).order)) + 3
    assert search(y.sum()).first_wrong_value() is found.node.inputs[0]


def test_what_cannot_be_searched_is_refused() -> None:
    model, x = toy_model(), leaf(3)
    generator = np.random.default_rng(0)
    model.bert.encoder.recompute = True
    for message, call in {
            "not computed from anything": lambda: bisect(x), "needs the model": lambda: bisect(lambda: x),
            "two different results": lambda: bisect(lambda: x * generator.standard_normal(3), model),
            r"encoder.recompute = False": lambda: bisect(model(**toy_batch()).loss)}.items():
        with pytest.raises(InputError, match=message):
            call()


def test_the_finding_is_shown_in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "exp", replace(REGISTRY["exp"], backward=lambda dy, y: (dy,)))
    page = bisect(F.exp(leaf(3, 5)).sum())._repr_html_()
    assert "first wrong operation: exp" in page and page.count("<tr>") == 2 and "<script" not in page
