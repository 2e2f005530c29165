"""Masking, by counting: the rate, the three fates, and who may never take part."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from minibert.ops.loss import IGNORE_INDEX
from minibert.text.masking import mask_tokens

V = 1000
MASK = 4


@dataclass
class Vocabulary:
    """Specials 0 to 4; the upper half of the ids continues words."""
    mask_id: int = MASK
    ordinary_ids: NDArray[np.int64] = field(default_factory=lambda: np.arange(5, V))
    continuation: NDArray[np.bool_] = field(default_factory=lambda: np.arange(V) >= V // 2)


@pytest.fixture
def rows() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """400 rows of 128: [CLS], text of different lengths with a [SEP] within, [SEP], padding."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, V, size=(400, 128))
    lengths = rng.integers(5, 129, size=400)
    ids[:, 0] = 2
    ids[np.arange(128) >= lengths[:, None]] = 0
    ids[np.arange(400), lengths - 1] = 3
    ids[np.arange(400), lengths // 2] = 3
    return ids, ids >= 5


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.5])
def test_exactly_the_rate_of_every_row(rows: tuple, rate: float) -> None:
    ids, candidates = rows
    _, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(1), rate)
    targets = (labels != IGNORE_INDEX).sum(axis=1)
    assert targets.tolist() == [max(1, round(rate * n)) for n in candidates.sum(axis=1).tolist()]


@pytest.mark.parametrize("whole_word", [False, True])
def test_labels_are_the_original_tokens_of_candidates(rows: tuple, whole_word: bool) -> None:
    ids, candidates = rows
    masked, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(2), 0.15, whole_word)
    chosen = labels != IGNORE_INDEX
    assert not (chosen & ~candidates).any()
    assert (labels[chosen] == ids[chosen]).all()
    assert (masked[~chosen] == ids[~chosen]).all()
    assert (masked.dtype, labels.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("whole_word", [False, True])
def test_the_three_fates(rows: tuple, whole_word: bool) -> None:
    ids, candidates = rows
    masked, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(3), 0.5, whole_word)
    chosen = labels != IGNORE_INDEX
    n = chosen.sum()
    to_mask, kept = (masked == MASK)[chosen].mean(), (masked == ids)[chosen].mean()
    for share, expected in ((to_mask, 0.8), (kept, 0.1), (1 - to_mask - kept, 0.1)):
        error = 4 * np.sqrt(expected * (1 - expected) / n) + 1 / V   # a random token may be the old one
        assert abs(share - expected) < error


def test_replacements_are_ordinary_and_all_alike(rows: tuple) -> None:
    ids, candidates = rows
    vocabulary = Vocabulary(ordinary_ids=np.arange(10, 30))
    counts = np.zeros(V)
    for seed in range(5):
        masked, labels = mask_tokens(ids, candidates, vocabulary, np.random.default_rng(seed), 0.9)
        replaced = masked[(labels != IGNORE_INDEX) & (masked != ids) & (masked != MASK)]
        counts += np.bincount(replaced, minlength=V)
    assert counts[:10].sum() == counts[30:].sum() == 0
    assert counts[10:30].min() > 0.75 * counts[10:30].mean()


def test_every_candidate_is_chosen_as_often_as_another() -> None:
    ids = np.full((4000, 20), 7)
    candidates = np.ones((4000, 20), dtype=bool)
    candidates[:, 0] = candidates[:, -1] = False
    _, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(0))
    often = (labels != IGNORE_INDEX).mean(axis=0)
    np.testing.assert_allclose(often[1:-1], 3 / 18, atol=0.03)
    assert often[0] == often[-1] == 0


@pytest.mark.parametrize("whole_word", [False, True])
def test_rows_with_few_candidates_or_none(whole_word: bool) -> None:
    ids = np.array([[2, 9, 3, 0], [2, 3, 3, 0], [2, 8, 9, 3]])
    candidates = ids >= 5
    for seed in range(20):
        rng = np.random.default_rng(seed)
        masked, labels = mask_tokens(ids, candidates, Vocabulary(), rng, 0.15, whole_word)
        assert (labels != IGNORE_INDEX).sum(axis=1).tolist() == [1, 0, 1]
        assert masked[1].tolist() == ids[1].tolist()


def words_of(ids: NDArray[np.int64], candidates: NDArray[np.bool_]) -> list[list[int]]:
    words: list[list[int]] = []
    for position in np.flatnonzero(candidates).tolist():
        if ids[position] >= V // 2 and words and words[-1][-1] == position - 1:
            words[-1].append(position)
        else:
            words.append([position])
    return words


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_whole_words_are_chosen_whole(rows: tuple, rate: float) -> None:
    ids, candidates = rows
    _, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(4), rate, whole_word=True)
    long_words = 0
    for row in range(len(ids)):
        for word in words_of(ids[row], candidates[row]):
            chosen = labels[row, word] != IGNORE_INDEX
            assert chosen.all() or not chosen.any()
            long_words += chosen.all() and len(word) > 1
    assert long_words > 100


def test_whole_words_reach_the_rate_and_do_not_pass_it(rows: tuple) -> None:
    ids, candidates = rows
    _, labels = mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(5), whole_word=True)
    targets = (labels != IGNORE_INDEX).sum(axis=1)
    budget = np.maximum(1, np.rint(0.15 * candidates.sum(axis=1)))
    words = [words_of(*row) for row in zip(ids, candidates, strict=True)]
    longest = np.array([max(map(len, row), default=0) for row in words])
    assert (targets <= np.maximum(budget, longest)).all()
    assert (targets >= np.minimum(1, candidates.sum(axis=1))).all()
    assert targets.sum() > 0.97 * budget.sum()


def test_a_word_that_is_too_long_is_taken_if_it_is_the_only_one() -> None:
    ids = np.array([[2, 9, 600, 601, 602, 3]])
    _, labels = mask_tokens(ids, ids >= 5, Vocabulary(), np.random.default_rng(0), 0.15, whole_word=True)
    assert labels.tolist() == [[-100, 9, 600, 601, 602, -100]]


def test_a_word_does_not_reach_over_a_separator() -> None:
    ids = np.array([[2, 9, 3, 600, 601, 3]])   # B begins in the middle of a word
    seen = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        _, labels = mask_tokens(ids, ids >= 5, Vocabulary(), rng, 0.6, whole_word=True)
        seen.add(tuple((labels[0] != IGNORE_INDEX).tolist()))
    assert seen == {(False, True, False, False, False, False), (False, False, False, True, True, False)}


@pytest.mark.parametrize("whole_word", [False, True])
def test_inputs_are_left_alone_and_the_generator_decides(rows: tuple, whole_word: bool) -> None:
    ids, candidates = rows
    before = ids.copy(), candidates.copy()
    results = [
        mask_tokens(ids, candidates, Vocabulary(), np.random.default_rng(seed), 0.15, whole_word)[1]
        for seed in (1, 1, 2)
    ]
    assert (ids == before[0]).all()
    assert (candidates == before[1]).all()
    assert (results[0] == results[1]).all()
    assert (results[0] != results[2]).any()
