"""Held-out numbers, and the floors they stand on, against counts by hand."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minibert.backend import Array
from minibert.models import BertForPreTraining
from minibert.ops.loss import IGNORE_INDEX
from minibert.train.evaluation import Evaluation, evaluate, floors, summarise
from minibert.train.lanes import Lanes, Sums
from minibert.train.pretrain import Loaded

Batches = list[dict[str, Array]]


@pytest.fixture(scope="module")
def loaded(finished: Path) -> Loaded:
    return Loaded.read(finished)


@pytest.fixture(scope="module")
def batches(loaded: Loaded) -> Batches:
    return loaded.held_out()


@pytest.fixture
def model(finished: Path) -> BertForPreTraining:
    return BertForPreTraining.from_pretrained(finished)


def cut(batches: Batches, size: int) -> Batches:
    """The same examples in smaller batches."""
    return [{name: array[row:row + size] for name, array in batch.items()}
            for batch in batches for row in range(0, len(batch["input_ids"]), size)]


def test_an_evaluation_reads_held_out_documents_only(loaded: Loaded, batches: Batches) -> None:
    """Where one sentence ends and the next begins, the words of two documents are hardly ever the same."""
    texts = [np.concatenate(document).tolist() for document in loaded.corpus.held_out]
    assert sum(len(batch["input_ids"]) for batch in batches) >= 6
    for batch in cut(batches, 1):
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        whole = np.where(labels == IGNORE_INDEX, ids, labels).tolist()
        first = whole[1:whole.index(loaded.tokenizer.sep_id)]
        assert any(text[i:i + len(first)] == first for text in texts for i in range(len(text)))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_result_does_not_depend_on_the_size_of_the_batches(size: int, model: BertForPreTraining,
                                                               batches: Batches) -> None:
    whole, parts = evaluate(model, batches), evaluate(model, cut(batches, size))
    for name, value in whole.to_dict().items():
        assert parts.to_dict()[name] == pytest.approx(value, rel=1e-5), name


def test_lanes_give_the_same_bits_as_no_lanes(model: BertForPreTraining, batches: Batches) -> None:
    small = cut(batches, 3)
    expected = evaluate(model, small)
    for threads in (1, 3):
        lanes = Lanes(model, threads, 3)
        assert evaluate(model, small, lanes) == expected
        lanes.close()


def test_every_number_is_what_a_count_by_hand_gives(model: BertForPreTraining, batches: Batches) -> None:
    losses, right, pair_losses = [], [], []
    answers: dict[int, list[bool]] = {0: [], 1: []}
    for batch in cut(batches, 1):
        output = model(batch["input_ids"], batch["token_type_ids"], batch["attention_mask"])
        rows = output.prediction_logits.data[0].astype(np.float64)
        for scores, label in zip(rows, batch["labels"][0], strict=True):
            if label != IGNORE_INDEX:
                losses.append(np.log(np.exp(scores).sum()) - scores[label])
                right.append(scores.argmax() == label)
        scores, truth = output.seq_relationship_logits.data[0].astype(np.float64), batch["next_sentence_label"][0]
        pair_losses.append(np.log(np.exp(scores).sum()) - scores[truth])
        answers[int(truth)].append(bool(scores.argmax() == truth))
    result = evaluate(model, batches)
    assert (result.masked, result.pairs) == (len(losses), len(pair_losses))
    assert result.masked_loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.masked_accuracy == pytest.approx(np.mean(right))
    assert result.pair_loss == pytest.approx(np.mean(pair_losses), rel=1e-5)
    assert result.pair_accuracy == pytest.approx(np.mean(answers[0] + answers[1]))
    assert result.next_accuracy == pytest.approx(np.mean(answers[0]))
    assert result.random_accuracy == pytest.approx(np.mean(answers[1]))
    assert result.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)


def test_dropout_is_off_during_an_evaluation_and_as_before_after_it(model: BertForPreTraining,
                                                                    batches: Batches) -> None:
    expected = evaluate(model.eval(), batches)
    assert not model.training
    assert evaluate(model.train(), batches) == expected
    assert all(module.training for module in model.modules())


def test_an_evaluation_leaves_no_gradient_and_no_graph(model: BertForPreTraining, batches: Batches) -> None:
    evaluate(model, batches)
    assert all(p.grad is None and p.node is None for p in model.parameters())


def test_the_classes_of_pairs_are_not_confused() -> None:
    result = summarise(Sums(2.0, 0.5, 40, 10, np.array([8, 4]), np.array([6, 1])))
    assert (result.next_accuracy, result.random_accuracy, result.pair_accuracy) == (0.75, 0.25, 7 / 12)
    assert (result.masked_accuracy, result.masked, result.pairs) == (0.25, 40, 12)


def test_a_class_without_a_pair_has_no_accuracy_and_the_json_stays_json() -> None:
    result = summarise(Sums(2.0, 0.5, 40, 10, np.array([0, 4]), np.array([0, 1])))
    assert math.isnan(result.next_accuracy)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["next_accuracy"] is None and values["random_accuracy"] == 0.25


def test_perplexity_is_the_exponential_of_the_loss_and_never_overflows() -> None:
    def perplexity(loss: float) -> float:
        return Evaluation(loss, 0.0, 0.7, 0.5, 0.5, 0.5, 1, 1).perplexity

    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(20.0)) == pytest.approx(20.0)
    assert math.isfinite(perplexity(1e6))


def test_floors_are_entropies_of_the_text_that_is_evaluated_on(loaded: Loaded) -> None:
    counts = Counter(int(i) for document in loaded.corpus.held_out for sentence in document for i in sentence)
    total = sum(counts.values())
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    result = loaded.floors()
    assert result.unigram == pytest.approx(entropy)
    assert result.chance == math.log(loaded.tokenizer.vocab_size)
    assert result.pair == math.log(2)


def test_the_unigram_floor_of_equally_frequent_pieces_is_their_logarithm() -> None:
    text = [[np.array([5, 6]), np.array([7])], [np.array([8])]]
    assert floors(text, 100).unigram == pytest.approx(math.log(4))
    assert floors([[np.array([3, 3])], [np.array([3])]], 100).unigram == 0.0


def test_every_run_is_evaluated_with_berts_share_of_masks(prepared: Path) -> None:
    """Whatever it trains with, so that runs can be compared."""
    loaded = Loaded.read(prepared)
    found = []
    for rate in (0.15, 0.6):
        batches = replace(loaded, settings=replace(loaded.settings, mask_rate=rate)).held_out()
        found.append(np.concatenate([batch["labels"].ravel() for batch in batches]))
    np.testing.assert_array_equal(found[0], found[1])
    text = sum(int(batch["attention_mask"].sum()) for batch in loaded.held_out())
    assert 0.08 < (found[0] != IGNORE_INDEX).sum() / text < 0.2
