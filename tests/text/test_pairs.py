"""Sentence pairs: nothing is lost, nothing is made up, and the label can be learned from the text alone."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from minibert.errors import InputError
from minibert.text.batches import encode_documents
from minibert.text.documents import Document
from minibert.text.pairs import IS_NEXT, IS_RANDOM, Pair, fitted_lengths, make_pairs
from minibert.text.tokenizer import Tokenizer

DocumentsIds = list[list[NDArray[np.int64]]]
Numbered = Callable[..., DocumentsIds]
SIZES = [1, 2, 3, 7, 12, 30, 1, 50, 4, 9]
ROOM_FOR_THREE_AND_A_HALF = 3 + 29   # of eight tokens each, so that cutting never takes a whole sentence


@pytest.fixture(scope="module")
def real(corpus: list[Document], tokenizer: Tokenizer) -> DocumentsIds:
    return encode_documents(corpus, tokenizer)


def as_lists(pairs: list[Pair]) -> list[tuple[list[int], list[int], int]]:
    return [(p.a.tolist(), p.b.tolist(), p.label) for p in pairs]


def test_every_sentence_is_used(numbered: Numbered) -> None:
    documents = numbered(SIZES)
    wanted = {int(sentence[0]) for document in documents for sentence in document}
    for epoch in range(5):
        pairs = make_pairs(documents, ROOM_FOR_THREE_AND_A_HALF, seed=1, epoch=epoch, short_pairs=0.0)
        in_order = [p.a for p in pairs] + [p.b for p in pairs if p.label == IS_NEXT]
        assert set(np.concatenate(in_order).tolist()) == wanted


def test_every_sentence_is_used_once_but_for_random_ones(numbered: Numbered) -> None:
    pairs = make_pairs(numbered(SIZES, length=5), 3 + 25, seed=0, epoch=0, short_pairs=0.0)
    in_order = np.concatenate([p.a for p in pairs] + [p.b for p in pairs if p.label == IS_NEXT])
    assert np.bincount(in_order).max() == 5


def test_true_next_is_what_follows(numbered: Numbered) -> None:
    for pair in make_pairs(numbered(SIZES), 64, seed=2, epoch=0):
        for part in (pair.a, pair.b):
            assert set(np.diff(part).tolist()) <= {0, 1}   # consecutive sentences of one document
        if pair.label == IS_NEXT:
            assert pair.b[0] - pair.a[-1] == 1


def test_random_is_from_another_document(numbered: Numbered) -> None:
    for sizes in (SIZES, [3, 40], [1, 1]):
        for epoch in range(5):
            for pair in make_pairs(numbered(sizes), 40, seed=3, epoch=epoch):
                same = pair.a[0] // 1000 == pair.b[0] // 1000
                assert same == (pair.label == IS_NEXT)


def test_random_sentences_come_from_all_other_sentences_alike(numbered: Numbered) -> None:
    documents = numbered([40, 40, 20, 4], length=10)
    sources = np.zeros(5)
    for epoch in range(150):
        for pair in make_pairs(documents, 3 + 20, seed=0, epoch=epoch, short_pairs=0.0):
            if pair.label == IS_RANDOM and pair.a[0] // 1000 == 1:
                sources[pair.b[0] // 1000] += 1
    np.testing.assert_allclose(sources / sources.sum(), [0, 0, 40 / 64, 20 / 64, 4 / 64], atol=0.03)


@pytest.mark.parametrize("max_length", [32, 64, 128, 256])
def test_labels_are_balanced(real: DocumentsIds, max_length: int) -> None:
    for epoch in range(2):
        labels = [pair.label for pair in make_pairs(real, max_length, seed=0, epoch=epoch)]
        assert abs(np.mean(labels) - 0.5) < 0.005


def test_labels_are_balanced_in_spite_of_single_sentences(numbered: Numbered) -> None:
    labels = [p.label for p in make_pairs(numbered([1] * 30 + [40] * 10), 40, seed=0, epoch=0)]
    assert abs(np.sum(labels) - len(labels) / 2) <= 1


def test_single_sentences_alone_are_always_random(numbered: Numbered) -> None:
    pairs = make_pairs(numbered([1] * 10), 64, seed=0, epoch=0)
    assert [p.label for p in pairs] == [IS_RANDOM] * 10


def test_labels_do_not_follow_a_pattern(real: DocumentsIds) -> None:
    labels = np.array([p.label for p in make_pairs(real, 128, seed=0, epoch=0)])
    repeats = np.mean(labels[1:] == labels[:-1])
    assert abs(repeats - 0.5) < 0.05


@pytest.mark.parametrize("max_length", [64, 128, 256])
def test_length_does_not_give_the_label_away(real: DocumentsIds, max_length: int) -> None:
    pairs = make_pairs(real, max_length, seed=0, epoch=0)
    labels = np.array([p.label for p in pairs])
    totals, seconds = [len(p.a) + len(p.b) for p in pairs], [len(p.b) for p in pairs]
    for lengths, limit in ((totals, 0.55), (seconds, 0.6)):   # 0.5 is blind
        right = [np.mean((np.array(lengths) >= cut) == labels) for cut in range(0, max_length, 4)]
        assert max(max(right), 1 - min(right)) < limit


def test_a_random_second_half_is_as_long_as_the_true_one() -> None:
    rng = np.random.default_rng(0)
    documents = [[np.full(rng.integers(5, 26), 10 * d + s) for s in range(5)] for d in range(300)]
    lengths: list[list[int]] = [[], []]
    for epoch in range(3):
        for pair in make_pairs(documents, 3 + 200, seed=0, epoch=epoch, short_pairs=0.0):
            if pair.a[0] % 10 == 0:   # the whole document, which is shorter than the sequence
                lengths[pair.label].append(len(pair.a) + len(pair.b))
    assert abs(np.mean(lengths[IS_NEXT]) - np.mean(lengths[IS_RANDOM])) < 4


def test_random_sentences_do_not_run_out(numbered: Numbered) -> None:
    for pair in make_pairs(numbered([20] * 10, length=10), 3 + 60, seed=0, epoch=0, short_pairs=0.0):
        if pair.a[0] % 1000 < 14:   # a full sequence of the document is left
            assert len(pair.a) + len(pair.b) == 60


@pytest.mark.parametrize("max_length", [5, 6, 17, 64])
def test_pairs_fit_and_are_never_empty(real: DocumentsIds, max_length: int) -> None:
    for pair in make_pairs(real[:80], max_length, seed=0, epoch=0):
        assert len(pair.a) >= 1
        assert len(pair.b) >= 1
        assert len(pair.a) + len(pair.b) <= max_length - 3


def test_most_pairs_are_full_and_some_are_short(real: DocumentsIds) -> None:
    full = []
    for share in (0.0, 0.1, 1.0):
        pairs = make_pairs(real, 128, seed=0, epoch=0, short_pairs=share)
        full.append(np.mean([len(p.a) + len(p.b) == 125 for p in pairs]))
    assert full[0] > 0.8
    assert 0.05 < full[0] - full[1] < 0.15
    assert full[2] < 0.2


def test_tokens_of_long_sentences_are_kept() -> None:
    long = [[np.arange(1000), np.arange(1000, 1100)], [np.arange(2000, 2030)]]
    seen: set[int] = set()
    for epoch in range(3):
        pairs = make_pairs(long, 3 + 60, seed=0, epoch=epoch, short_pairs=0.0)
        seen |= set(np.concatenate([np.concatenate([p.a, p.b]) for p in pairs]).tolist())
    assert len(seen) > 1080


def test_cutting_takes_from_the_longer_and_from_both_ends() -> None:
    assert fitted_lengths(10, 5, 20) == (10, 5)
    assert fitted_lengths(30, 5, 20) == (15, 5)
    assert fitted_lengths(5, 30, 20) == (5, 15)
    for a in range(1, 12):
        for b in range(1, 12):
            x, y = a, b
            while x + y > 9:   # as Google's truncate_seq_pair does it
                x, y = (x - 1, y) if x > y else (x, y - 1)
            assert fitted_lengths(a, b, 9) == (x, y)
    ids = [[np.arange(50) + 100 * s for s in range(30)] for _ in range(2)]
    firsts = [int(p.a[0]) % 100 for p in make_pairs(ids, 3 + 60, seed=0, epoch=0, short_pairs=0.0)]
    assert len({f for f in firsts if f}) > 3


def test_pure_in_seed_and_epoch(real: DocumentsIds) -> None:
    first = as_lists(make_pairs(real[:60], 64, seed=5, epoch=2))
    assert first == as_lists(make_pairs(real[:60], 64, seed=5, epoch=2))
    assert first != as_lists(make_pairs(real[:60], 64, seed=5, epoch=3))
    assert first != as_lists(make_pairs(real[:60], 64, seed=6, epoch=2))


def test_documents_are_shuffled(numbered: Numbered) -> None:
    documents = [int(p.a[0]) // 1000 for p in make_pairs(numbered([20] * 10), 32, seed=0, epoch=0)]
    assert np.mean(np.diff(documents) == 0) < 0.4


def test_empty_sentences_and_documents_are_passed_over(numbered: Numbered) -> None:
    empty = np.zeros(0, dtype=np.int64)
    documents = numbered([3, 3])
    with_empty = [[empty], [empty, *documents[0]], [], [*documents[1], empty]]
    assert as_lists(make_pairs(with_empty, 32, 0, 0)) == as_lists(make_pairs(documents, 32, 0, 0))


@pytest.mark.parametrize("documents", [[], [[np.arange(9)]], [[np.arange(9)] * 5, []]])
def test_one_document_is_not_enough(documents: DocumentsIds) -> None:
    with pytest.raises(InputError, match=r"documents with text.*at least 2.*ANOTHER.*more files"):
        make_pairs(documents, 32, 0, 0)


def test_no_room(numbered: Numbered) -> None:
    with pytest.raises(InputError, match=r"max_length is 4, but.*takes 5 places"):
        make_pairs(numbered([3, 3]), 4, 0, 0)
