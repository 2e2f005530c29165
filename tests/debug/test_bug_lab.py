"""The bug lab: twelve bugs from the history of BERTs and of autograd engines, each named by the tool made for it.

The public reports: codertimo/BERT-pytorch #32 (1) and #110 (9), d2l-ai/d2l-en #2582 (2), HIPS/autograd #136 (3),
karpathy/micrograd #2 (4), nyu-mll/jiant #465 (5), pytorch #13669 (6), AlkiGit/BERT-NumPy (7, 8),
huggingface/transformers #34191 (10) and #2860 (11), harvardnlp/annotated-transformer #122 (12).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_model
from train import tiny

from minibert import InputError, Tensor
from minibert import functional as F
from minibert.debug import audit_pairs, bisect, doctor, why
from minibert.nn import Module, Parameter
from minibert.ops.elementwise import add
from minibert.ops.registry import REGISTRY
from minibert.text import Document, PretrainingBatches, Tokenizer

from .historical_bugs import MODEL_BUGS, mean_of_means, negatives_that_are_positives

RNG = np.random.default_rng(12)
COTANGENT = Tensor(RNG.standard_normal((3, 7, 5)))


class LayerNormOfParts(Module):
    """Layer normalisation out of mean, subtract, multiply and divide, as a beginner writes it."""

    def __init__(self, hidden: int) -> None:
        self.weight = Parameter(RNG.standard_normal(hidden))
        self.bias = Parameter(RNG.standard_normal(hidden))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / F.sqrt((centred * centred).mean(axis=-1, keepdims=True)) * self.weight + self.bias


class Net(Module):
    """Two of them around a residual connection."""

    def __init__(self) -> None:
        self.first, self.second = LayerNormOfParts(5), LayerNormOfParts(5)
        self.name_parameters()

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return (F.tanh(self.second(h + F.tanh(h))) * COTANGENT).sum()


def loss_of_parts(net: Net) -> Tensor:
    return net(Tensor(RNG.standard_normal((3, 7, 5)), requires_grad=True, name="x"))


@pytest.mark.parametrize(("name", "number"), [
    ("next-sentence loss ignores label 0", 1), ("masked loss averaged over padding", 2), ("inverted attention mask", 5),
    ("dropout left on in evaluation", 11), ("layer norm with the unbiased deviation", 12)])
def test_the_doctor_names_what_a_model_does_wrong(name: str, number: int) -> None:
    bug = MODEL_BUGS[name]
    finding = doctor(bug.plant(toy_model()), toy_batch())[bug.check]
    assert finding.status == "problem" and bug.says in finding.what and finding.seen_in


def test_3_repeated_tokens_lost_in_the_embedding_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps_the_last(dy: Any, ids: Any, table_shape: tuple) -> tuple:
        dtable = np.zeros(table_shape, dy.dtype)
        dtable[ids] = dy
        return (dtable,)

    monkeypatch.setitem(REGISTRY, "embedding", replace(REGISTRY["embedding"], backward=keeps_the_last))
    model, batch = toy_model(), toy_batch()
    loss = model(**batch).loss
    found = bisect(loss, model)
    assert found.kind == "pair" and found.node.op.name == "embedding" and "repeats are not added up" in str(found)
    ids = batch["input_ids"]
    token = np.bincount(ids[ids > 0]).argmax()
    with pytest.raises(AssertionError, match=r"the terms by .* sum to .*a backward on the way is wrong"):
        why(model.bert.embeddings.word_embeddings.weight[token, 3], loss).by("position")


def test_4_assigned_instead_of_added_at_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def assign(pending: Any, owned: Any, x: Any, dx: Any, shared: bool) -> None:
        pending[x] = dx

    monkeypatch.setattr("minibert.graph._add", assign)
    found = bisect(loss_of_parts(Net()))
    assert found.kind == "fork" and "is not the sum of what its uses give" in str(found) and "missing:" in str(found)


def test_6_broadcast_forward_and_not_summed_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "add", replace(REGISTRY["add"], backward=lambda dz, x_shape, y_shape: (dz, dz)))
    loss = loss_of_parts(Net())
    with pytest.raises(InputError, match=r"the backward of <add .* in second.*returned a gradient of .*\(3, 7, 5\)"):
        loss.backward()
    found = bisect(loss_of_parts(Net()))
    assert found.kind == "pair" and found.node.op.forward is add and found.node.module == "second"


def test_6_summed_over_the_wrong_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_row(dz: Any, x_shape: tuple, y_shape: tuple) -> tuple:
        return dz, dz if y_shape == dz.shape else dz[0, 0].reshape(y_shape)

    monkeypatch.setitem(REGISTRY, "add", replace(REGISTRY["add"], backward=first_row))
    found = bisect(loss_of_parts(Net()))
    assert found.kind == "pair" and found.node.op.name == "add" and found.input == "y"


def test_7_mean_divides_by_the_size_of_the_whole_array(monkeypatch: pytest.MonkeyPatch) -> None:
    true = REGISTRY["mean"]

    def over_everything(dy: Any, *saved: Any) -> tuple:
        (dx,) = true.backward(dy, *saved)
        return (dx * (5.0 / dx.size),)

    monkeypatch.setitem(REGISTRY, "mean", replace(true, backward=over_everything))
    found = bisect(loss_of_parts(Net()))
    assert found.kind == "pair" and found.node.op.name == "mean" and "21 x too small" in str(found)


def test_8_embeddings_cut_from_the_graph() -> None:
    model, batch = MODEL_BUGS["embeddings cut from the graph"].plant(toy_model()), toy_batch()
    found = bisect(lambda: model(**batch).loss, model)
    assert found.kind == "cut" and "bert.embeddings" in str(found)
    assert "no gradient reaches" in doctor(model, batch)["reachability"].what
    with pytest.raises(InputError, match="position_embeddings"):
        why(model.bert.embeddings.position_embeddings.weight[2, 3], model(**batch).loss)


def test_9_negatives_that_are_positives() -> None:
    lines = tiny.sentences()
    documents = [Document(f"document {i}", tuple(lines[i:i + 6])) for i in range(0, len(lines), 6)]
    tokenizer = Tokenizer.train(lines, 120)
    batches = list(PretrainingBatches.from_documents(documents, tokenizer, 10, 24))
    assert audit_pairs(batches, documents, tokenizer).status == "ok"
    found = audit_pairs(negatives_that_are_positives(batches), documents, tokenizer)
    assert found.status == "problem" and "BERT-pytorch #110" in found.seen_in


def test_10_mean_of_means_in_accumulation() -> None:
    found = doctor(toy_model(), toy_batch(), gradients=mean_of_means)["accumulation"]
    assert found.status == "problem" and "3" in found.what and "#34191" in found.seen_in


def test_without_a_bug_nobody_is_accused() -> None:
    assert bisect(loss_of_parts(Net())).ok
    assert doctor(toy_model(), toy_batch()).ok
