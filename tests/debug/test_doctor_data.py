"""Label balance, masking, and pairs looked up in their corpus: healthy data pass, planted faults are named."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minibert import InputError
from minibert.debug.auditing import audit_pairs
from minibert.debug.auditing.data import Data, label_balance, masking
from minibert.debug.auditing.pairs import Corpus
from minibert.ops.loss import IGNORE_INDEX
from minibert.text import Document, PretrainingBatches, Tokenizer
from minibert.text.batches import encode_documents
from minibert.text.collate import collate
from minibert.text.pairs import Pair

from .historical_bugs import negatives_that_are_positives

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """31 documents of 13 sentences, none of which occurs twice."""
    rng = np.random.default_rng(0)
    syllables = ["ba", "do", "ki", "lu", "me", "no", "pa", "ri", "su", "te", "vo", "za"]
    words = [a + b for a in syllables for b in syllables]
    return [Document(f"document {d}", tuple(" ".join(rng.choice(words, rng.integers(4, 11))) for _ in range(13)))
            for d in range(31)]


@pytest.fixture(scope="module")
def tokenizer(documents: list[Document]) -> Tokenizer:
    return Tokenizer.train((s for d in documents for s in d.sentences), 211)


def some(documents: list[Document], tokenizer: Tokenizer, seed: int = 0, **options: Any) -> list[Batch]:
    """An epoch of batches."""
    batches = PretrainingBatches.from_documents(documents, tokenizer, 8, options.pop("max_length", 37), seed, **options)
    return list(batches)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_length", [16, 37, 90])
def test_pairs_that_training_makes_are_true(documents: list[Document], tokenizer: Tokenizer, seed: int,
                                            max_length: int) -> None:
    finding = audit_pairs(some(documents, tokenizer, seed, max_length=max_length), documents, tokenizer)
    assert finding.status == "ok", finding
    assert finding.evidence["fine"] > 0.6 * finding.evidence["pairs"]
    assert finding.evidence["missing"] == 0 if "missing" in finding.evidence else True


def test_documents_may_be_given_as_ids(documents: list[Document], tokenizer: Tokenizer) -> None:
    batches = some(documents, tokenizer)
    assert audit_pairs(batches, encode_documents(documents, tokenizer), tokenizer) == audit_pairs(
        iter(batches), documents, tokenizer)
    with pytest.raises(InputError, match="no batch"):
        audit_pairs([], documents, tokenizer)


@pytest.mark.parametrize("max_length", [16, 37, 90])
def test_negatives_that_are_positives_are_found(documents: list[Document], tokenizer: Tokenizer,
                                                max_length: int) -> None:
    batches = list(negatives_that_are_positives(some(documents, tokenizer, max_length=max_length)))
    finding = audit_pairs(batches, documents, tokenizer)
    assert finding.status == "problem" and "pairs labelled 1 (random) are true next sentences" in finding.what
    assert "codertimo/BERT-pytorch #110" in finding.seen_in
    assert finding.evidence["true next"] > 0 and "same document" not in finding.evidence


def made_of(places: list[tuple[int, int, int, int, int]], documents: list[Document], tokenizer: Tokenizer) -> Batch:
    """Pairs by hand: (document and sentence of A, document and sentence of B, label), without masks."""
    ids = encode_documents(documents, tokenizer)
    batch = collate([Pair(ids[a][i], ids[b][j], label) for a, i, b, j, label in places], tokenizer, 90)
    return {**batch, "labels": np.full_like(batch["input_ids"], IGNORE_INDEX)}


TRUE_PAIRS = [(2, 0, 2, 1, 0), (3, 4, 3, 5, 0), (5, 11, 5, 12, 0), (2, 7, 9, 0, 1), (0, 12, 1, 0, 1), (4, 3, 6, 3, 1)]


@pytest.mark.parametrize(("place", "words"), [
    ((7, 3, 7, 4, 1), "1 pairs labelled 1 (random) are true next sentences"),
    ((7, 3, 7, 9, 1), "1 pairs labelled 1 (random) come from one document"),
    ((7, 9, 7, 3, 1), "1 pairs labelled 1 (random) come from one document"),
    ((7, 3, 8, 4, 0), "1 pairs labelled 0 (next) do not follow each other"),
    ((7, 4, 7, 3, 0), "1 pairs labelled 0 (next) do not follow each other"),
    ((7, 3, 7, 5, 0), "1 pairs labelled 0 (next) do not follow each other"),
    ((7, 12, 8, 0, 0), "1 pairs labelled 0 (next) do not follow each other")])
def test_one_false_label_is_found_among_true_ones(documents: list[Document], tokenizer: Tokenizer,
                                                  place: tuple[int, int, int, int, int], words: str) -> None:
    assert audit_pairs([made_of(TRUE_PAIRS, documents, tokenizer)], documents, tokenizer).status == "ok"
    # a longer pair beside them, so that none of these can have been cut
    longest = max(range(31), key=lambda d: len(documents[d].sentences[0] + documents[d].sentences[1]))
    batch = made_of([*TRUE_PAIRS, (longest, 0, longest, 1, 0), place], documents, tokenizer)
    finding = audit_pairs([batch], documents, tokenizer)
    assert finding.status == "problem" and words in finding.what


def test_a_part_is_found_at_whole_tokens_of_one_document() -> None:
    """256 and 0 side by side hold the bytes of 1, and the end of one document is next to the beginning of another."""
    corpus = Corpus([[np.array([256, 0])], [np.array([7, 8]), np.array([9])], [np.array([8, 9, 7, 8])]])
    assert corpus.places(np.array([1]), whole=False) == corpus.places(np.array([0, 7]), whole=False) == []
    assert corpus.places(np.array([8, 9]), whole=False) == [(1, 4, 6), (2, 7, 9)]
    assert corpus.places(np.array([7, 8]), whole=True) == [(1, 3, 5)]


def test_labels_that_are_not_the_original_words_are_found(documents: list[Document], tokenizer: Tokenizer) -> None:
    batches = some(documents, tokenizer)
    for batch in batches:
        batch["labels"] = np.where(batch["labels"] == IGNORE_INDEX, IGNORE_INDEX, np.maximum(5, batch["labels"] - 1))
    finding = audit_pairs(batches, documents, tokenizer)
    assert finding.status == "problem" and "the labels are not the original words" in finding.what


def test_pairs_of_a_text_that_repeats_itself_are_not_judged(tokenizer: Tokenizer) -> None:
    documents = [Document(str(d), ("bado kilu", "meno pari")) for d in range(8)]
    finding = audit_pairs(some(documents, tokenizer, max_length=16), documents, tokenizer)
    assert finding.status == "skipped" and "its sentences repeat" in finding.what


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"mask_rate": 0.4}, {"whole_word": True}], ids=str)
def test_masks_that_training_makes_are_right(documents: list[Document], tokenizer: Tokenizer, seed: int,
                                             options: dict[str, Any]) -> None:
    data = Data(some(documents, tokenizer, seed, **options), tokenizer, mask_rate=options.get("mask_rate", 0.15),
                whole_word=options.get("whole_word", False))
    assert masking(data).status == "ok", masking(data)
    assert label_balance(data).status == "ok"


def on_every(labelled: Callable[[Batch, Tokenizer], np.ndarray]) -> Callable[[Batch, Tokenizer], None]:
    """Put the original words back where a condition holds, as labels or as words."""
    def change(batch: Batch, t: Tokenizer) -> None:
        batch["input_ids"] = np.where(labelled(batch, t), batch["labels"], batch["input_ids"])
    return change


def label_separators(batch: Batch, t: Tokenizer) -> None:
    batch["labels"] = np.where(batch["input_ids"] == t.sep_id, t.sep_id, batch["labels"])


def label_padding(batch: Batch, t: Tokenizer) -> None:
    batch["labels"] = np.where(batch["attention_mask"] == 0, 7, batch["labels"])


def forget_labels(batch: Batch, t: Tokenizer) -> None:
    batch["labels"][:, 1:9] = IGNORE_INDEX


def replace_by_padding(batch: Batch, t: Tokenizer) -> None:
    labelled = batch["labels"] != IGNORE_INDEX
    other = labelled & (batch["input_ids"] != t.mask_id) & (batch["input_ids"] != batch["labels"])
    batch["input_ids"] = np.where(other, t.pad_id, batch["input_ids"])


def never_random(batch: Batch, t: Tokenizer) -> None:
    batch["input_ids"] = np.where(batch["labels"] != IGNORE_INDEX, t.mask_id, batch["input_ids"])


@pytest.mark.parametrize(("change", "words"), [
    (label_separators, "labels are special tokens"), (label_padding, "labels are on padding"),
    (forget_labels, "[MASK] tokens have no label"), (replace_by_padding, "random replacements are special tokens"),
    (never_random, "of the labelled tokens are [MASK] instead of 80%"),
    (never_random, "0.0% of the labelled tokens are a random word instead of 10%"),
    (on_every(lambda batch, t: batch["labels"] != IGNORE_INDEX), "100.0% of the labelled tokens are unchanged")])
def test_wrong_masks_are_named(documents: list[Document], tokenizer: Tokenizer, words: str,
                               change: Callable[[Batch, Tokenizer], None]) -> None:
    batches = some(documents, tokenizer)
    for batch in batches:
        change(batch, tokenizer)
    finding = masking(Data(batches, tokenizer, mask_rate=0.15))
    assert finding.status == "problem" and words in finding.what, finding


def test_too_many_or_too_few_masks_are_named(documents: list[Document], tokenizer: Tokenizer) -> None:
    for rate in (0.1, 0.2):
        finding = masking(Data(some(documents, tokenizer, mask_rate=rate), tokenizer, mask_rate=0.15))
        assert finding.status == "problem" and "of the tokens have a label instead of 15%" in finding.what


@pytest.mark.parametrize(("labels", "status"), [
    ([0] * 16, "problem"), ([1] * 16, "problem"), ([0, 1] * 8, "ok"), ([1] * 7, "note"), ([0, 0, 1], "ok"),
    ([0] * 90 + [1] * 30, "problem"), ([0] * 70 + [1] * 50, "ok"), ([IGNORE_INDEX] * 3, "problem")])
def test_labels_of_one_kind_are_a_problem(labels: list[int], status: str) -> None:
    batch = {"next_sentence_label": np.array(labels)}
    assert label_balance(Data([batch])).status == status


def test_of_few_words_some_random_ones_are_the_right_ones() -> None:
    """Eleven words: a random word is the right one in every eleventh case, which is more than four sigma here."""
    rng = np.random.default_rng(0)
    labels, fate = rng.integers(5, 16, (100, 400)), rng.random((100, 400))
    ids = np.where(fate < 0.8, 4, np.where(fate < 0.9, rng.integers(5, 16, labels.shape), labels))
    few: Any = SimpleNamespace(special_ids=np.arange(5), mask_id=4, ordinary_ids=np.arange(5, 16))
    batch = {"input_ids": ids, "labels": labels, "attention_mask": np.ones_like(ids)}
    assert masking(Data([batch], few)).status == "ok"
    few.ordinary_ids = np.arange(5, 999)
    assert "are unchanged instead of 10%" in masking(Data([batch], few)).what
