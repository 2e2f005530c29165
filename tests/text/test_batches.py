"""Batches: pure in (seed, step), rectangular, and with the labels where they belong."""

from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from minibert.errors import InputError
from minibert.ops.loss import IGNORE_INDEX
from minibert.text.batches import Batch, PretrainingBatches, encode_documents, held_out_batches
from minibert.text.collate import collate
from minibert.text.documents import Document
from minibert.text.pairs import Pair, make_pairs
from minibert.text.tokenizer import Tokenizer

DocumentsIds = list[list[NDArray[np.int64]]]


@pytest.fixture(scope="module")
def ids(corpus: list[Document], tokenizer: Tokenizer) -> DocumentsIds:
    return encode_documents(corpus[:80], tokenizer)


@pytest.fixture
def batches(ids: DocumentsIds, tokenizer: Tokenizer) -> PretrainingBatches:
    return PretrainingBatches(ids, tokenizer, batch_size=16, max_length=60, seed=7)


def equal(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_ids_of_documents_are_those_of_their_sentences(corpus: list[Document], tokenizer: Tokenizer) -> None:
    encoded = encode_documents(corpus[:5], tokenizer)
    for document, rows in zip(corpus[:5], encoded, strict=True):
        assert [r.tolist() for r in rows] == [r.tolist() for r in tokenizer.ids(document.sentences)]


def test_shapes_and_types(batches: PretrainingBatches) -> None:
    for step in range(30):
        batch = batches.batch(step)
        length = batch["input_ids"].shape[1]
        assert length == 60 or length % 8 == 0
        assert length <= 60
        assert all(a.dtype == np.int64 for a in batch.values())
        for key in ("input_ids", "token_type_ids", "attention_mask", "labels"):
            assert batch[key].shape == (16, length)
        assert batch["next_sentence_label"].shape == (16,)
        assert batch["attention_mask"].sum(axis=1).max() > length - 8


def test_layout_of_a_pair(tokenizer: Tokenizer) -> None:
    pairs = [Pair(np.array([10, 11]), np.array([12]), 1), Pair(np.array([13] * 4), np.array([14] * 3), 0)]
    batch = collate(pairs, tokenizer, max_length=64)
    assert batch["input_ids"].shape == (2, 16)
    assert batch["input_ids"][0, :8].tolist() == [2, 10, 11, 3, 12, 3, 0, 0]
    assert batch["token_type_ids"][0, :8].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert batch["attention_mask"].sum(axis=1).tolist() == [6, 10]
    assert batch["next_sentence_label"].tolist() == [1, 0]
    assert collate(pairs, tokenizer, max_length=10)["input_ids"].shape == (2, 10)


def test_special_tokens_and_padding_are_never_targets(
    batches: PretrainingBatches, tokenizer: Tokenizer
) -> None:
    for step in range(20):
        batch = batches.batch(step)
        targets = batch["labels"] != IGNORE_INDEX
        assert not (targets & (batch["attention_mask"] == 0)).any()
        assert not np.isin(batch["labels"], tokenizer.special_ids).any()
        assert (targets.sum(axis=1) >= 1).all()
        original = np.where(targets, batch["labels"], batch["input_ids"])
        assert not (original == tokenizer.mask_id).any()
        assert ((original == tokenizer.sep_id).sum(axis=1) == 2).all()
        assert (original[:, 0] == tokenizer.cls_id).all()


def test_the_mask_rate(ids: DocumentsIds, tokenizer: Tokenizer) -> None:
    for rate in (0.15, 0.4):
        loader = PretrainingBatches(ids, tokenizer, 16, 128, seed=0, mask_rate=rate)
        shares = [
            (b["labels"] != IGNORE_INDEX).sum() / (b["attention_mask"].sum() - 3 * 16)
            for b in map(loader.batch, range(10))
        ]
        assert abs(np.mean(shares) - rate) < 0.01


def test_whole_words(ids: DocumentsIds, tokenizer: Tokenizer) -> None:
    loader = PretrainingBatches(ids, tokenizer, 16, 64, seed=0, whole_word=True)
    for step in range(10):
        batch = loader.batch(step)
        targets = batch["labels"] != IGNORE_INDEX
        original = np.where(targets, batch["labels"], batch["input_ids"])
        joined = tokenizer.continuation[original[:, 1:]] & ~np.isin(original[:, :-1], tokenizer.special_ids)
        assert (targets[:, 1:] == targets[:, :-1])[joined].all()


def test_a_batch_is_the_same_whenever_it_is_asked_for(
    ids: DocumentsIds, tokenizer: Tokenizer, batches: PretrainingBatches
) -> None:
    far = 2 * len(batches) + 5
    warm = [batches.batch(step) for step in range(far + 1)]
    for step in (far, 17, 0):
        cold = PretrainingBatches(ids, tokenizer, batch_size=16, max_length=60, seed=7)
        assert equal(cold.batch(step), warm[step])
        assert equal(batches.batch(step), warm[step])


def test_other_seeds_steps_and_epochs_differ(
    ids: DocumentsIds, tokenizer: Tokenizer, batches: PretrainingBatches
) -> None:
    other = PretrainingBatches(ids, tokenizer, batch_size=16, max_length=60, seed=8)
    assert not equal(batches.batch(3), other.batch(3))
    assert not equal(batches.batch(3), batches.batch(4))
    assert not equal(batches.batch(3), batches.batch(3 + len(batches)))


def test_the_same_pair_gets_other_masks_in_another_step(tokenizer: Tokenizer) -> None:
    two = [[np.arange(10, 40)], [np.arange(50, 80)]]
    loader = PretrainingBatches(two, tokenizer, batch_size=2, max_length=80, seed=0)
    masks = {(loader.batch(step)["labels"] != IGNORE_INDEX).tobytes() for step in range(6)}
    assert len(masks) == 6


def test_the_steps_of_an_epoch_get_other_masks(tokenizer: Tokenizer) -> None:
    full = [[np.full(10, 5 + s) for s in range(60)] for _ in range(4)]
    loader = PretrainingBatches(full, tokenizer, batch_size=2, max_length=35, seed=0, short_pairs=0.0)
    masks = {(loader.batch(step)["labels"] != IGNORE_INDEX).tobytes() for step in range(6)}
    assert len(loader) > 6
    assert len(masks) == 6


def originals(batch: Batch) -> list[tuple[int, ...]]:
    """The rows before masking, without padding."""
    rows = np.where(batch["labels"] != IGNORE_INDEX, batch["labels"], batch["input_ids"])
    return [tuple(row[row != 0].tolist()) for row in rows]


def test_an_epoch_shows_every_pair_at_most_once(ids: DocumentsIds, batches: PretrainingBatches) -> None:
    assert len(batches) == len(make_pairs(ids, 60, seed=7, epoch=0)) // 16
    for epoch in (0, 2, 1):
        pairs = make_pairs(ids, 60, seed=7, epoch=epoch)
        expected = [(2, *p.a.tolist(), 3, *p.b.tolist(), 3) for p in pairs]
        steps = range(epoch * len(batches), (epoch + 1) * len(batches))
        rows = [row for step in steps for row in originals(batches.batch(step))]
        assert rows == (expected + expected)[:len(rows)]


def test_iteration_is_epoch_after_epoch(batches: PretrainingBatches) -> None:
    first, second = list(batches), list(islice(batches, 3))
    assert len(first) == len(batches)
    assert equal(first[2], batches.batch(2))
    assert equal(second[2], batches.batch(len(batches) + 2))


def test_fewer_pairs_than_a_batch(tokenizer: Tokenizer) -> None:
    two = [[np.arange(10, 14)], [np.arange(20, 24)]]
    loader = PretrainingBatches(two, tokenizer, batch_size=5, max_length=32, seed=0)
    assert len(loader) == 1
    rows = originals(loader.batch(3))
    assert len(rows) == 5
    assert rows[0] == rows[2] == rows[4] != rows[1] == rows[3]


def test_from_documents(corpus: list[Document], ids: DocumentsIds, tokenizer: Tokenizer) -> None:
    loader = PretrainingBatches.from_documents(corpus[:80], tokenizer, batch_size=16, max_length=60, seed=7)
    assert equal(loader.batch(4), PretrainingBatches(ids, tokenizer, 16, 60, 7).batch(4))


def test_held_out_batches_are_fixed_and_complete(ids: DocumentsIds, tokenizer: Tokenizer) -> None:
    first, again = (held_out_batches(ids, tokenizer, 16, 60, seed=1) for _ in range(2))
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert sum(len(b["input_ids"]) for b in first) == len(make_pairs(ids, 60, 1, 0, short_pairs=0.0))
    limited = held_out_batches(ids, tokenizer, 16, 60, seed=1, limit=2)
    assert len(limited) == 2
    assert equal(limited[1], first[1])


@pytest.mark.parametrize(("change", "message"), [
    ({"batch_size": 0}, "batch size is 0"),
    ({"mask_rate": 0.0}, "mask rate is 0.0"),
    ({"mask_rate": 1.5}, "mask rate is 1.5"),
    ({"short_pairs": -0.1}, "short pairs is -0.1"),
    ({"max_length": 4}, "max_length is 4"),
    ({"seed": -3}, "seed is -3"),
])
def test_sizes_out_of_range(ids: DocumentsIds, tokenizer: Tokenizer, change: dict, message: str) -> None:
    arguments = {"batch_size": 8, "max_length": 32, "seed": 0, **change}
    with pytest.raises(InputError, match=message):
        PretrainingBatches(ids, tokenizer, **arguments)


def test_one_document_is_refused(ids: DocumentsIds, tokenizer: Tokenizer) -> None:
    for make in (PretrainingBatches, held_out_batches):
        with pytest.raises(InputError, match="ANOTHER document"):
            make(ids[:1], tokenizer, 8, 32, 0)
