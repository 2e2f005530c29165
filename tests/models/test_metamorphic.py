"""What must not change the result, and what must: each of these was wrong in some BERT once."""

from typing import Any

import numpy as np
import pytest

from minibert import InputError
from minibert import functional as F
from minibert.graph import Node, topological_order
from minibert.models.labelled import Labelled
from minibert.ops.loss import IGNORE_INDEX

from .toys import LENGTHS, SHAPE, assert_same, gradients, learn, only_text, take, toy_batch, toy_model

V = SHAPE["vocab_size"]


@pytest.mark.parametrize("extra", [1, 3, 6])
def test_any_amount_of_right_padding_changes_nothing(extra: int) -> None:
    model, batch = toy_model(), toy_batch()
    more = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 1, "labels": IGNORE_INDEX}
    longer = {name: np.pad(batch[name], ((0, 0), (0, extra)), constant_values=fill) for name, fill in more.items()}
    short, short_gradients = learn(model, batch)
    long, long_gradients = learn(model, {**longer, "next_sentence_label": batch["next_sentence_label"]})
    text = batch["attention_mask"] == 1
    for name in ("prediction_logits", "last_hidden_state"):
        a, b = (getattr(output, name).data for output in (short, long))
        np.testing.assert_allclose(b[:, :text.shape[1]][text], a[text], rtol=1e-11, atol=1e-12)
    assert long.loss.item() == pytest.approx(short.loss.item(), rel=1e-13)
    assert_same(long_gradients, short_gradients)


def test_padded_words_and_their_segments_change_nothing() -> None:
    model, batch = toy_model(), toy_batch()
    padding = batch["attention_mask"] == 0
    rng = np.random.default_rng(3)
    changed = dict(batch, input_ids=np.where(padding, rng.integers(1, V, padding.shape), batch["input_ids"]),
                   token_type_ids=np.where(padding, 1 - batch["token_type_ids"], batch["token_type_ids"]))
    before, before_gradients = learn(model, batch)
    after, after_gradients = learn(model, changed)
    assert (changed["input_ids"] != batch["input_ids"]).sum() > 20
    np.testing.assert_array_equal(after.prediction_logits.data[~padding], before.prediction_logits.data[~padding])
    assert after.loss.item() == before.loss.item()
    for name, gradient in after_gradients.items():
        np.testing.assert_array_equal(gradient, before_gradients[name], err_msg=name)


def test_every_word_that_is_not_padded_matters_to_every_other() -> None:
    """The counterpart: without it, a model that ignores its input passes the tests above."""
    model, batch = toy_model(), only_text(toy_batch())
    before = model(**batch).last_hidden_state.data
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            changed = dict(batch, input_ids=batch["input_ids"].copy())
            changed["input_ids"][row, t] = 1 + changed["input_ids"][row, t] % (V - 1)
            differs = (model(**changed).last_hidden_state.data != before).any(-1)
            assert differs[row, :length].all() and not np.delete(differs, row, 0).any()


@pytest.mark.parametrize("cuts", [[3], [1, 2], [4, 6], [1, 2, 3, 4, 5, 6]])
def test_any_cut_of_the_batch_gives_the_same_loss_and_gradients_with_dropout(cuts: list[int]) -> None:
    model, batch = toy_model(hidden_act="gelu_new").train(), toy_batch()
    stream = model.bert.dropout_stream
    stream.seek(7)
    whole, whole_gradients = learn(model, batch)
    assert whole.loss.item() != pytest.approx(model.eval()(**batch).loss.item(), rel=1e-3), "nothing was dropped"
    model.train()
    counts = {"masked_count": int((batch["labels"] != IGNORE_INDEX).sum()), "pair_count": len(LENGTHS)}
    loss = 0.0
    for start, end in zip([0, *cuts], [*cuts, len(LENGTHS)], strict=True):
        stream.seek(7, start)
        part = model(**take(batch, slice(start, end)), **counts)
        part.loss.backward()
        loss += part.loss.item()
    assert loss == pytest.approx(whole.loss.item(), rel=1e-13)
    assert_same(gradients(model), whole_gradients)


@pytest.mark.parametrize("changes", [
    {}, {"norm_position": "pre"}, {"num_hidden_layers": 1}, {"position_embedding_type": "sinusoidal"}], ids=str)
@pytest.mark.parametrize(("labelled_only", "recompute"), [(True, False), (False, True), (True, True)])
def test_computing_less_or_twice_changes_nothing(changes: dict[str, Any], labelled_only: bool,
                                                 recompute: bool) -> None:
    """With dropout, padding, an example without labels and a labelled [CLS]."""
    model, batch = toy_model(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, **changes).train(), toy_batch()
    batch["labels"][1] = IGNORE_INDEX
    batch["labels"][3, 0] = 5
    stream = model.bert.dropout_stream
    stream.seek(7, 2)
    whole, whole_gradients = learn(model, batch)
    stream.seek(7, 2)
    model.bert.encoder.recompute = recompute
    less, less_gradients = learn(model, {**batch, "labelled_only": labelled_only})
    assert stream.step == 8 and stream.row == 0, "a second run of a layer must leave no trace"
    assert less.loss.item() == pytest.approx(whole.loss.item(), rel=1e-14)
    np.testing.assert_allclose(less.masked_lm_logits.data, whole.masked_lm_logits.data, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(less.pooler_output.data, whole.pooler_output.data, rtol=1e-12, atol=1e-14)
    assert_same(less_gradients, whole_gradients)


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (2, 1)])
def test_single_tokens_can_be_computed_less_and_twice(lengths: tuple[int, ...]) -> None:
    """[CLS] is all that there is, and it is labelled, so it is picked twice."""
    model, batch = toy_model(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3).train(), toy_batch(0, lengths)
    found = []
    for model.bert.encoder.recompute in (False, True):
        model.bert.dropout_stream.seek(7)
        found.append(learn(model, batch, labelled_only=model.bert.encoder.recompute))
    (whole, whole_gradients), (less, less_gradients) = found
    assert less.loss.item() == pytest.approx(whole.loss.item(), rel=1e-14)
    assert_same(less_gradients, whole_gradients)


def test_a_batch_without_labels_can_be_computed_less() -> None:
    """Where no word is labelled only [CLS] is read; where no labels are given the whole last layer may be."""
    model, batch = toy_model(), toy_batch()
    batch["labels"][:] = IGNORE_INDEX
    whole, whole_gradients = learn(model, batch)
    less, less_gradients = learn(model, batch, labelled_only=True)
    assert less.last_hidden_state.shape[1] == 1 and less.masked_lm_logits.shape == (0, SHAPE["vocab_size"])
    assert less.loss.item() == pytest.approx(whole.loss.item(), rel=1e-14)
    assert_same(less_gradients, whole_gradients)
    del batch["labels"]
    alone = model(**batch, labelled_only=True)
    assert alone.last_hidden_state.shape == whole.last_hidden_state.shape
    assert alone.loss.item() == pytest.approx(whole.next_sentence_loss.item(), rel=1e-14)


def test_attention_is_shown_where_layers_are_recomputed_too() -> None:
    model, batch = toy_model(), toy_batch()
    whole, whole_gradients = learn(model, batch, output_attentions=True, output_hidden_states=True)
    model.bert.encoder.recompute = True
    again, gradients_again = learn(model, batch, output_attentions=True, output_hidden_states=True)
    assert len(again.attentions) == len(whole.attentions) == 2 and len(again.hidden_states) == 3
    for mine, other in zip(again.attentions, whole.attentions, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert_same(gradients_again, whole_gradients)


def test_the_positions_that_are_read() -> None:
    labelled = np.array([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 1, 1]], bool)
    labels = np.where(labelled, np.arange(15).reshape(3, 5), IGNORE_INDEX)
    words, rows, only = Labelled.alone(labels)
    assert only.at.tolist() == [[0, 1, 4, 0], [0, 0, 0, 0], [0, 0, 3, 4]] and only.length == 5
    assert [only.at[i, k] for i, k in zip(*rows, strict=True)] == labelled.nonzero()[1].tolist()
    assert words.tolist() == labels[labelled].tolist() == Labelled.everywhere(labels).labels.tolist()


def test_room_for_more_labels_changes_neither_loss_nor_gradient() -> None:
    """So that every batch can have the same shapes; and too little room is an error, not a lost label."""
    model, batch = toy_model().train(), toy_batch()
    loss, expected = learn(model, batch)
    model.bert.dropout_stream.seek(0)
    mine, found = learn(model, {**batch, "labels": Labelled.alone(batch["labels"], places=4, count=19)})
    assert mine.masked_lm_logits.shape[0] == 19 and mine.last_hidden_state.shape[1] == 5
    assert mine.loss.item() == pytest.approx(loss.loss.item(), rel=1e-13)
    assert_same(found, expected)
    for room in ({"places": 1}, {"count": 5}):
        with pytest.raises(InputError, match="there is room for"):
            Labelled.alone(batch["labels"], **room)


def test_a_recomputed_layer_is_known_by_its_name_and_keeps_its_input_only() -> None:
    model, batch = toy_model(), toy_batch()
    held = []
    for model.bert.encoder.recompute in (False, True):
        loss = model(**batch).loss
        held.append(sum(len(node.saved) for node in topological_order(loss.node) if isinstance(node, Node)))
    assert held[1] < held[0] / 2
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "check", lambda node: names.append(node.module))
        loss.backward()
    assert {"bert.encoder.layer.0.attention.self", "bert.encoder.layer.1.output.dense"} <= set(names)


def test_the_order_of_the_examples_does_not_matter() -> None:
    model, batch = toy_model(), toy_batch()
    order = np.random.default_rng(4).permutation(len(LENGTHS))
    before, before_gradients = learn(model, batch)
    after, after_gradients = learn(model, take(batch, order))
    assert after.loss.item() == pytest.approx(before.loss.item(), rel=1e-13)
    np.testing.assert_allclose(after.seq_relationship_logits.data, before.seq_relationship_logits.data[order],
                               rtol=1e-11)
    assert_same(after_gradients, before_gradients)


@pytest.mark.parametrize("row", range(4))
def test_flipping_any_next_sentence_label_changes_the_loss_and_the_encoders_gradient(row: int) -> None:
    model, batch = toy_model(), toy_batch()
    flipped = dict(batch, next_sentence_label=batch["next_sentence_label"].copy())
    flipped["next_sentence_label"][row] ^= 1
    before, before_gradients = learn(model, batch)
    after, after_gradients = learn(model, flipped)
    assert abs(after.next_sentence_loss.item() - before.next_sentence_loss.item()) > 1e-3
    assert after.masked_lm_loss.item() == before.masked_lm_loss.item()
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    assert np.abs(after_gradients[name] - before_gradients[name]).max() > 1e-6


@pytest.mark.parametrize("label", [0, 1])
def test_each_class_of_next_sentence_counts_alone(label: int) -> None:
    """Class 0 was once taken for the padding's label, so that one class of pairs was never learnt."""
    model, batch = toy_model(), toy_batch()
    labels = np.full(len(LENGTHS), label)
    output, found = learn(model, {**only_text(batch), "next_sentence_label": labels})
    logits = output.seq_relationship_logits.data
    surprise = np.log(np.exp(logits).sum(-1)) - logits[:, label]
    assert output.loss.item() == pytest.approx(surprise.mean(), rel=1e-12)
    assert np.abs(found["cls.seq_relationship.weight"]).min() > 0.0


def test_the_masked_loss_is_the_mean_over_labelled_words_alone() -> None:
    model, batch = toy_model(), toy_batch()
    output, _ = learn(model, batch)
    chosen = batch["labels"] != IGNORE_INDEX
    logits, truth = output.prediction_logits.data[chosen], batch["labels"][chosen]
    surprise = np.log(np.exp(logits).sum(-1)) - logits[np.arange(truth.size), truth]
    assert output.masked_lm_loss.item() == pytest.approx(surprise.mean(), rel=1e-12)
    assert output.loss.item() == pytest.approx(surprise.mean() + output.next_sentence_loss.item(), rel=1e-12)


def test_rows_without_labels_do_not_dilute_the_loss() -> None:
    model, batch = toy_model(), toy_batch()
    without = dict(batch, labels=np.where(np.arange(len(LENGTHS))[:, None] < 3, batch["labels"], IGNORE_INDEX))
    without["next_sentence_label"] = np.array([0, 1, 1, *[IGNORE_INDEX] * (len(LENGTHS) - 3)])
    few = take(without, slice(0, 3))
    all_rows, all_gradients = learn(model, without)
    few_rows, few_gradients = learn(model, few)
    assert all_rows.loss.item() == pytest.approx(few_rows.loss.item(), rel=1e-13)
    assert_same(all_gradients, few_gradients)


def test_scores_of_unlabelled_words_get_a_gradient_of_exactly_0() -> None:
    model, batch = toy_model(), toy_batch()
    _, expected = learn(model, {name: batch[name] for name in batch if name != "next_sentence_label"})
    logits = model(**only_text(batch)).prediction_logits.retain_grad()
    F.cross_entropy(logits, batch["labels"]).backward()
    chosen = batch["labels"] != IGNORE_INDEX
    assert (logits.grad[~chosen] == 0.0).all() and (np.abs(logits.grad[chosen]).max(-1) > 1e-3).all()
    found = gradients(model)
    del found["cls.seq_relationship.weight"], found["cls.seq_relationship.bias"]
    assert_same({n: g for n, g in found.items() if g is not None},
                {n: g for n, g in expected.items() if g is not None})


def test_only_labelled_words_reach_back_from_the_last_layer() -> None:
    model, batch = toy_model(), toy_batch()
    output = model(**only_text(batch), labels=batch["labels"])
    output.last_hidden_state.retain_grad()
    output.loss.backward()
    reached = (output.last_hidden_state.grad != 0.0).any(-1)
    np.testing.assert_array_equal(reached, batch["labels"] != IGNORE_INDEX)


def test_scores_at_every_position_contain_those_at_the_labelled_ones() -> None:
    model, batch = toy_model(), toy_batch()
    output = model(**batch)
    chosen = batch["labels"] != IGNORE_INDEX
    np.testing.assert_allclose(output.masked_lm_logits.data, output.prediction_logits.data[chosen], rtol=1e-12)


def test_a_row_of_nothing_but_padding_gives_finite_numbers_and_leaves_the_others_alone() -> None:
    model, batch = toy_model(), toy_batch()
    batch["attention_mask"][3] = 0
    batch["labels"][3], batch["next_sentence_label"][3] = IGNORE_INDEX, IGNORE_INDEX
    output, found = learn(model, batch, output_attentions=True)
    others = np.arange(len(LENGTHS)) != 3
    alone, alone_gradients = learn(model, take(batch, others))
    assert np.isfinite(output.prediction_logits.data).all()
    assert all((probs[3] == 0.0).all() for probs in output.attentions)
    np.testing.assert_allclose(output.prediction_logits.data[others], alone.prediction_logits.data, rtol=1e-11)
    assert_same(found, alone_gradients)


def test_without_any_labelled_word_the_loss_is_0_and_so_is_every_gradient() -> None:
    model, batch = toy_model(), toy_batch()
    output, found = learn(model, {**only_text(batch), "labels": np.full_like(batch["labels"], IGNORE_INDEX)})
    assert output.loss.item() == 0.0 and output.masked_lm_logits.shape == (0, V)
    assert all(gradient is None or (gradient == 0.0).all() for gradient in found.values())


def test_changing_the_batch_after_the_forward_pass_changes_no_gradient() -> None:
    model, batch = toy_model(), toy_batch()
    _, expected = learn(model, batch)
    loss = model(**batch).loss
    for array in batch.values():
        array[...] = 0
    loss.backward()
    assert_same(gradients(model), expected, 0.0)
