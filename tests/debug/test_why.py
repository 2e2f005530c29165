"""The terms of a gradient entry are the gradients of what they say they are, and sum to it."""

from typing import Any

import numpy as np
import pytest
from models.toys import Batch, gradients, toy_batch, toy_model

from minibert import BertForPreTraining, Tensor
from minibert import functional as F
from minibert.debug.execution import Execution
from minibert.debug.provenance.term import Term
from minibert.debug.provenance.why import why
from minibert.ops.loss import IGNORE_INDEX

TABLE = "bert.embeddings.word_embeddings.weight"
EVERY_WAY = (("use",), ("path",), ("loss",), ("example",), ("position",), ("token",), ("segment",), ("head",),
             ("feature",), ("example", "position"), ("token", "position"))
CASES = [(train, labelled_only) for train in (False, True) for labelled_only in (False, True)]


def toy(train: bool = True, **overrides: Any) -> tuple[BertForPreTraining, Batch]:
    """A toy model, and a batch in which a word comes several times, also in one row."""
    batch = toy_batch()
    batch["input_ids"][1, 2:5] = batch["input_ids"][4, 1] = batch["labels"][4, 3] = 7
    model = toy_model(**overrides).train(train)
    model.bert.dropout_stream.seek(5)
    return model, batch


def loss_of(model: BertForPreTraining, batch: Batch, **options: Any) -> Tensor:
    """Always of the same step of dropout."""
    model.bert.dropout_stream.seek(5)
    return model(**batch, **options).loss


def only(batch: Batch, masked: Any, pairs: Any) -> tuple[Batch, dict[str, int]]:
    """The batch with those labels alone; and the counts of the whole, so that such losses add up."""
    counts = {"masked_count": int((batch["labels"] != IGNORE_INDEX).sum()), "pair_count": len(batch["labels"])}
    kept = {"labels": np.where(masked, batch["labels"], IGNORE_INDEX),
            "next_sentence_label": np.where(pairs, batch["next_sentence_label"], IGNORE_INDEX)}
    return batch | kept, counts


def entry_of(model: BertForPreTraining, loss: Tensor, name: str, place: tuple[int, ...]) -> float:
    """The number that the engine's own backward pass gives."""
    loss.backward()
    return float(gradients(model)[name][place])


def splits(term: Term) -> list[Any]:
    """All that the term can be split by."""
    found = []
    for names in EVERY_WAY:
        try:
            found.append(term.by(*names))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize(("train", "labelled_only"), CASES)
def test_every_split_of_every_parameter_sums_to_the_engines_gradient(train: bool, labelled_only: bool) -> None:
    model, batch = toy(train)
    loss = model(**batch, labelled_only=labelled_only).loss
    loss.backward()
    rng = np.random.default_rng(2)
    for name, p in model.named_parameters():
        place = tuple(int(rng.integers(n)) for n in p.shape)
        answer = why(p[place], loss)
        scale = max(np.abs(p.grad).max(), 1e-3)
        assert answer.value == pytest.approx(p.grad[place], rel=1e-10, abs=1e-12 * scale), name
        made = splits(answer)
        assert {"use", "loss", "example"} <= {split.names[0] for split in made}, name
        for split in made:
            assert split.values.sum() == pytest.approx(p.grad[place], rel=1e-10, abs=1e-10 * scale), (name, split.names)


def test_terms_of_terms_sum_too() -> None:
    model, batch = toy()
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], loss_of(model, batch, labelled_only=True))
    for first in splits(answer):
        term = max(first, key=lambda t: abs(t.value))
        for second in splits(term):
            assert second.values.sum() == pytest.approx(term.value, rel=1e-9, abs=1e-12), (first.names, second.names)
            inner = max(second, key=lambda t: abs(t.value))
            for third in splits(inner):
                assert third.values.sum() == pytest.approx(inner.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", [TABLE, "bert.encoder.layer.0.attention.self.key.weight",
                                  "bert.encoder.layer.1.output.LayerNorm.weight"])
def test_by_loss_is_the_gradient_of_each_loss(name: str) -> None:
    model, batch = toy()
    place = (7, 3) if name == TABLE else (4, 6)[:dict(model.named_parameters())[name].ndim]
    alone = []
    for loss_name in ("masked_lm_loss", "next_sentence_loss"):
        model.bert.dropout_stream.seek(5)
        alone.append(entry_of(model, getattr(model(**batch), loss_name), name, place))
    split = why(dict(model.named_parameters())[name][place], loss_of(model, batch)).by("loss")
    assert split.values == pytest.approx(alone, rel=1e-10)
    assert [term.label.partition(" (")[0] for term in split] == ["masked LM", "next sentence"]


@pytest.mark.parametrize(("train", "labelled_only"), CASES)
def test_by_example_is_the_gradient_of_the_labels_of_that_example_alone(train: bool, labelled_only: bool) -> None:
    model, batch = toy(train)
    split = why(model.bert.embeddings.word_embeddings.weight[7, 3],
                loss_of(model, batch, labelled_only=labelled_only)).by("example")
    assert len(split) == len(batch["labels"])
    for row in range(len(split)):
        here = np.arange(len(split)) == row
        one, counts = only(batch, here[:, None], here)
        expected = entry_of(model, loss_of(model, one, **counts), TABLE, (7, 3))
        assert split.at(row).value == pytest.approx(expected, rel=1e-10, abs=1e-15), row


@pytest.mark.parametrize("labelled_only", [False, True])
def test_places_of_the_head_are_those_of_the_labels(labelled_only: bool) -> None:
    model, batch = toy()
    bias = model.cls.predictions.bias
    split = why(bias[7], loss_of(model, batch, labelled_only=labelled_only)).by("example", "position")
    rows, columns = (batch["labels"] != IGNORE_INDEX).nonzero()
    assert sorted(term.where for term in split) == sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    for row, column in zip(rows, columns, strict=True):
        here = np.zeros(batch["labels"].shape, bool)
        here[row, column] = True
        one, counts = only(batch, here, False)
        expected = entry_of(model, loss_of(model, one, **counts), "cls.predictions.bias", (7,))
        assert split.at(row, column).value == pytest.approx(expected, rel=1e-10)


def test_tokens_are_those_of_the_text() -> None:
    model, batch = toy()
    uses = why(model.bert.embeddings.word_embeddings.weight[7, 3], loss_of(model, batch)).by("use")
    lookup = next(term for term in uses if "lookup" in term.label)
    assert lookup.by("token").at(7).value == pytest.approx(lookup.value, rel=1e-12)
    placed = lookup.by("example", "position")
    assert {term.where for term in placed if term.value} == set(zip(*map(list, (batch["input_ids"] == 7).nonzero()),
                                                                    strict=True))
    bias = why(model.cls.predictions.bias[7], loss_of(model, batch, labelled_only=True))
    by_token, by_place = bias.by("token"), bias.by("example", "position")
    for term in by_token:
        assert term.value == pytest.approx(sum(
            t.value for t in by_place if batch["input_ids"][t.where] == term.where[0]), rel=1e-10, abs=1e-16)


def test_uses_of_a_tied_table_are_the_gradients_of_two_untied_ones() -> None:
    model, batch = toy()
    split = why(model.bert.embeddings.word_embeddings.weight[7, 3], loss_of(model, batch)).by("use")
    untied, _ = toy(tie_word_embeddings=False)
    for name, p in untied.named_parameters():
        tied = TABLE if name == "cls.predictions.decoder.weight" else name
        p.assign(dict(model.named_parameters())[tied].data)
    loss_of(untied, batch).backward()
    apart = gradients(untied)
    found = {term.label: term.value for term in split}
    assert found == pytest.approx({
        "lookup in bert.embeddings.word_embeddings": apart[TABLE][7, 3],
        "weight of cls.predictions": apart["cls.predictions.decoder.weight"][7, 3]}, rel=1e-10)


@pytest.mark.parametrize("labelled_only", [False, True])
def test_heads_are_what_is_left_when_the_gradients_of_all_others_are_zeroed(labelled_only: bool) -> None:
    model, batch = toy()
    loss = loss_of(model, batch, labelled_only=labelled_only)
    for layer in (0, 1):
        module = f"bert.encoder.layer.{layer}.attention.self"
        execution = Execution(loss, np.float64)
        node = next(n for n in execution.nodes if n.op.name == "attention" and n.module == module)
        dcontext = execution.backward().of[node]
        for name in (f"{module}.value.weight", f"{module}.query.weight", TABLE):
            parameter = dict(model.named_parameters())[name]
            through = why(parameter[7, 3], loss).through(module)[0]
            heads = through.by("head")
            for head in range(3):
                one = np.zeros_like(dcontext)
                one[:, head] = dcontext[:, head]
                expected = execution.backward(node, one).of[parameter][7, 3]
                assert heads.at(head).value == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_through_and_the_rest() -> None:
    model, batch = toy()
    loss = loss_of(model, batch)
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], loss)
    execution = Execution(loss)
    for what in ("bert.encoder.layer.0.attention.self", "bert.encoder.layer.1", "attention", "bert.pooler", "tanh"):
        through, rest = answer.through(what)
        assert through.value + rest.value == pytest.approx(answer.value, rel=1e-10)
        for term in (through, rest):
            assert all(split.values.sum() == pytest.approx(term.value, rel=1e-9, abs=1e-13) for split in splits(term))
    node = next(n for n in execution.nodes if n.op.name == "attention" and ".1." in n.module)
    expected = execution.backward(node, execution.backward().of[node]).of[model.bert.embeddings.word_embeddings.weight]
    assert answer.through(node)[0].value == pytest.approx(expected[7, 3], rel=1e-9)
    lookup_only, _ = answer.through("bert.encoder")  # the output head is not below the encoder
    assert lookup_only.value == pytest.approx(next(t.value for t in answer.by("use") if "lookup" in t.label), rel=1e-9)
    rest = answer.through("bert.encoder.layer.0.attention.self")[1]
    inner, outer = rest.through("bert.encoder.layer.1.attention.self")
    assert inner.value + outer.value == pytest.approx(rest.value, rel=1e-9)
    assert answer.through("attention")[1].value == pytest.approx(outer.value, rel=1e-9)


def test_a_fork_by_hand() -> None:
    x = Tensor(np.array([2.0, 3.0, -5.0]), requires_grad=True)
    x.data = x.data.astype(np.float64)
    loss = (x * x + x).sum()
    answer = why(x[2], loss)
    assert answer.value == -9.0
    assert [(term.label, term.value) for term in answer.by("use")] == [
        ("x of multiply", -5.0), ("y of multiply", -5.0), ("y of add", 1.0)]
    assert [(term.label, term.value) for term in answer.through("multiply")] == [
        ("through multiply", -10.0), ("the rest", 1.0)]
    assert [term.value for term in why(x[2], (x * x).sum() - x.sum()).by("loss")] == [-10.0, -1.0]
    through, rest = answer.through("multiply")
    assert through.by("use")[0].value == -10.0 and [term.value for term in rest.by("use")] == [1.0]
    assert [term.value for term in answer.through("sum")[0].by("loss")] == [-9.0]
    in_a_row = why(x[1], ((x * 2.0) * 5.0).sum()).through("multiply")
    assert [term.value for term in in_a_row] == [10.0, 0.0] and in_a_row[0].by("use").values.tolist() == [10.0]
    scaled = why(x[2], ((x * x).sum() * 0.5 - x.sum() / 4.0) * 8.0)
    assert [(term.label, term.value) for term in scaled.by("loss")] == [("sum[0]", -40.0), ("sum[1]", -2.0)]
    total = x.sum()
    assert [(term.label, term.value) for term in why(x[0], total * total).by("loss")] == [("multiply", 0.0)]
    twice = (x * x).sum()
    assert [term.value for term in why(x[0], twice + twice).by("loss")] == [4.0, 4.0]


def test_the_loss_itself_is_on_the_way() -> None:
    model, batch = toy()
    loss = loss_of(model, batch)
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], loss)
    through, rest = answer.through(loss)
    assert through.value == pytest.approx(answer.value, rel=1e-10) and rest.value == 0.0
    assert through.by("loss").values == pytest.approx([answer.value], rel=1e-10)


def test_terms_of_a_place_go_on_to_every_use() -> None:
    model, batch = toy()
    answer = why(model.bert.encoder.layer[0].output.LayerNorm.bias[3], loss_of(model, batch))
    example = answer.by("example").at(1)
    uses = example.by("use")
    assert len(uses) == 4 and len(set(uses.values.tolist())) == 4
    assert example.by("position").at(2).by("use").values.sum() == pytest.approx(
        answer.by("example", "position").at(1, 2).value, rel=1e-9)


@pytest.mark.parametrize(("name", "index", "use"), [
    ("intermediate.dense.weight", (2, 3), "weight of bert.encoder.layer.0.intermediate"),
    ("intermediate.dense.bias", (2,), "bias of bert.encoder.layer.0.intermediate"),
    ("output.dense.bias", (3,), "sub-layer bias of bert.encoder.layer.0.output"),
    ("output.LayerNorm.bias", (3,), "bias of bert.encoder.layer.0.output")])
def test_the_parameters_of_fused_operations_have_their_roles(name: str, index: tuple[int, ...], use: str) -> None:
    model, batch = toy()
    answer = why(dict(model.bert.encoder.layer[0].named_parameters())[name][index], loss_of(model, batch))
    only, = answer.by("use")
    assert only.label == use
    assert answer.by("example").values.sum() == pytest.approx(answer.value, rel=1e-9)
    expected = sum(term.value for term in answer.by("example", "position") if term.where[0] == 2)
    assert answer.by("example").at(2).value == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_an_entry_of_an_intermediate_value() -> None:
    model, batch = toy()
    model.bert.dropout_stream.seek(5)
    output = model(**batch, output_hidden_states=True)
    hidden = output.hidden_states[1].retain_grad()
    answer = why(hidden[2, 4, 6], output.loss)
    output.loss.backward()
    assert answer.value == pytest.approx(hidden.grad[2, 4, 6], rel=1e-10)
    assert len(answer.by("use")) == 4  # query, key, value and residual
    assert answer.by("example").at(2).value == pytest.approx(answer.value, rel=1e-10)
    attended = answer.through("bert.encoder.layer.1.attention.self")[0].by("position")
    read = {0, *np.flatnonzero(batch["labels"][2] != IGNORE_INDEX).tolist()}  # of the last layer, by the two heads
    assert {term.where[0] for term in attended if term.value} == read
    assert attended.values.sum() == pytest.approx(attended.whole.value, rel=1e-10)


def test_before_and_after_backward_and_in_float32() -> None:
    rng = np.random.default_rng(1)
    x = Tensor(rng.standard_normal((5, 3)).astype(np.float32))
    w = Tensor(rng.standard_normal((4, 3)).astype(np.float32), requires_grad=True, name="w")
    loss = F.cross_entropy(F.linear(x, w), np.array([0, 3, 1, 1, 2]))
    before = why(w[1, 2], loss)
    loss.backward()
    after = why(w[1][-1])  # the last backward pass, and an entry picked in two steps
    assert before.value == after.value == pytest.approx(w.grad[1, 2], rel=1e-5)
    assert ".grad holds" in str(after) and ".grad" not in str(before)
    p = np.exp(x.data.astype(float) @ w.data.T.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(5), [0, 3, 1, 1, 2]] -= 1
    assert after.by("example").values == pytest.approx(p[:, 1] / 5 * x.data[:, 2], rel=1e-6)
