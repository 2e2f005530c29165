"""Choose the tokens that the masked language model must predict, and disguise them.

Devlin et al. 2018, section 3.1: 15 % of the tokens are targets; of these 80 % become [MASK], 10 % a random
token, and 10 % stay as they are, so that no position can be trusted.  Masks are drawn anew for every
batch ("dynamic masking", RoBERTa), not once for the corpus.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from minibert.ops.loss import IGNORE_INDEX

_MASKED, _RANDOM = 0.8, 0.1   # the rest is kept


class MaskingVocabulary(Protocol):
    """What masking must know of a vocabulary of V pieces; `Tokenizer` has it."""

    @property
    def mask_id(self) -> int:
        """The id of [MASK]."""

    @property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """int64: the ids that a random replacement may be, no special token among them."""

    @property
    def continuation(self) -> NDArray[np.bool_]:
        """bool (V,): the pieces that continue a word."""


def mask_tokens(
    input_ids: NDArray[np.int64],
    candidates: NDArray[np.bool_],
    vocabulary: MaskingVocabulary,
    rng: np.random.Generator,
    rate: float = 0.15,
    whole_word: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(masked_ids, labels), both int64 (B, T); labels are IGNORE_INDEX where nothing is predicted.

    input_ids (B, T), left as they are; candidates (B, T): the positions that may be chosen, which must not
    be special tokens.  Of n candidates in a row round(rate * n) are chosen without replacement, and at
    least one if there is any.  whole_word: all pieces of a word are chosen, or none; then a row has at
    most that many targets, unless its only choice is a word with more pieces.
    """
    counts = _target_counts(candidates, rate)
    if whole_word:
        words = _word_numbers(input_ids, candidates, vocabulary.continuation)
        chosen = np.array([_choose_words(*row, rng) for row in zip(words, counts.tolist(), strict=True)])
        chosen = chosen.reshape(input_ids.shape)
    else:
        chosen = _choose_positions(candidates, counts, rng)
    labels = np.where(chosen, input_ids, IGNORE_INDEX)
    fate = rng.random(input_ids.shape)
    replacements = vocabulary.ordinary_ids[
        rng.integers(len(vocabulary.ordinary_ids), size=input_ids.shape)
    ]
    masked = np.where(chosen & (fate < _MASKED), vocabulary.mask_id, input_ids)
    masked = np.where(chosen & (fate >= _MASKED) & (fate < _MASKED + _RANDOM), replacements, masked)
    return masked, labels


def _target_counts(candidates: NDArray[np.bool_], rate: float) -> NDArray[np.int64]:
    """(B,): how many positions of each row are targets."""
    available = candidates.sum(axis=1)
    counts = np.maximum(1, np.rint(rate * available).astype(np.int64))
    return np.where(available > 0, counts, 0)


def _choose_positions(
    candidates: NDArray[np.bool_], counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(B, T): the first `counts` candidates of each row in a random order."""
    scores = rng.random(candidates.shape)
    scores[~candidates] = np.inf   # behind every candidate
    order = np.argsort(scores, axis=1)
    chosen = np.zeros(candidates.shape, dtype=bool)
    np.put_along_axis(chosen, order, np.arange(candidates.shape[1]) < counts[:, None], axis=1)
    return chosen


def _word_numbers(
    input_ids: NDArray[np.int64], candidates: NDArray[np.bool_], continuation: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(B, T): candidates of one word have one number, from 1 on in each row; 0 is no candidate.

    A continuation whose word began outside the candidates, at a cut for instance, is a word of its own.
    """
    after_candidate = np.zeros_like(candidates)
    after_candidate[:, 1:] = candidates[:, :-1]
    begins = candidates & ~(continuation[input_ids] & after_candidate)
    return np.where(candidates, np.cumsum(begins, axis=1), 0)


def _choose_words(
    words: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(T,): words in random order while they fit into `count` positions, and one in any case."""
    lengths = np.bincount(words)[1:]
    order = rng.permutation(len(lengths)).tolist()
    taken: list[int] = []
    left = count
    for word in order:
        if lengths[word] <= left:
            taken.append(word + 1)
            left -= int(lengths[word])
        if left == 0:
            break
    if order and not taken:
        taken = [order[0] + 1]
    return np.isin(words, taken)
