"""Sentence pairs for next-sentence prediction, as Google's BERT makes them.

Consecutive sentences of one document are packed until the sequence is full and cut at a random sentence
boundary into A and B.  Half the time B is replaced by sentences of ANOTHER document; the sentences that
it replaced are put back, so every sentence of the corpus is used in every epoch.

    label 0 (IS_NEXT)    B is what follows A
    label 1 (IS_RANDOM)  B is from another document          (Hugging Face's and Google's convention)

Five departures from Google's create_pretraining_data.py:
- A chunk of one sentence has nothing to cut and must get a random B.  Google leaves the labels lopsided;
  here later chunks make up for it, so that the two labels are as near to equal in number as they can be.
- Random sentences are drawn from all sentences alike, not from all documents alike: otherwise those of
  short documents come up so often as B that recognising them is enough to guess the label.
- At the end of a document a random B is about as long as the B it replaces.  Google fills it up, so that
  a sequence that is not full gives the label away.
- The shorter target is drawn for each pair, not for each document.
- A sentence longer than a whole sequence is cut into halves of a sequence, and not thrown away in part.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minibert.errors import InputError
from minibert.text.documents import MIN_DOCUMENTS
from minibert.text.randomness import stream

IS_NEXT = 0
IS_RANDOM = 1

PAIR_SPECIALS = 3
"""[CLS] A [SEP] B [SEP]: the places that are not text."""

_MIN_TARGET = 2   # one token for A and one for B


class Pair(NamedTuple):
    """a, b: ids int64 (n,), n >= 1, without special tokens.  label: IS_NEXT or IS_RANDOM."""
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    label: int


class _Span(NamedTuple):
    """Sentences start to stop - 1 of the corpus."""
    start: int
    stop: int


def make_pairs(
    documents_ids: Sequence[Sequence[NDArray[np.int64]]],
    max_length: int,
    seed: int,
    epoch: int,
    short_pairs: float = 0.1,
) -> list[Pair]:
    """One epoch of pairs, shuffled: a pure function of its arguments.

    documents_ids: for each document the ids of its sentences, int64 (n,).  max_length: of the sequence with
    its three special tokens, so len(a) + len(b) <= max_length - 3.  short_pairs: the probability that a
    pair aims at a random shorter length, because sentences in use are often short.
    Raises InputError if fewer than two documents have text, or max_length has no room for a pair.
    """
    room = max_length - PAIR_SPECIALS
    if room < _MIN_TARGET:
        raise InputError(
            f"max_length is {max_length}, but a pair of one token each takes {PAIR_SPECIALS + _MIN_TARGET} "
            "places with its special tokens: take 32 or more for real text."
        )
    maker = _PairMaker(documents_ids, room, short_pairs, stream(seed, "pairs", epoch))
    return maker.epoch()


class _PairMaker:
    """The corpus as one row of tokens, and the state of one epoch."""

    def __init__(
        self,
        documents_ids: Sequence[Sequence[NDArray[np.int64]]],
        room: int,
        short_pairs: float,
        rng: np.random.Generator,
    ) -> None:
        self.room = room
        self.short_pairs = short_pairs
        self.rng = rng
        self.surplus = 0   # random pairs so far less true ones
        sentences: list[NDArray[np.int64]] = []
        self.first = [0]   # first[d] is the first sentence of document d
        for document in documents_ids:
            sentences += [piece for sentence in document for piece in _cut(sentence, room)]
            if len(sentences) > self.first[-1]:
                self.first.append(len(sentences))
        self.documents = len(self.first) - 1
        if self.documents < MIN_DOCUMENTS:
            raise InputError(
                f"There are {self.documents} documents with text, but next-sentence prediction needs at "
                f"least {MIN_DOCUMENTS}, because a wrong next sentence is taken from ANOTHER document: give "
                "more files, or separate the documents of a file with blank lines."
            )
        self.tokens = np.concatenate(sentences)
        # Sentence s is tokens[begins[s]:begins[s + 1]]; a list, because single numbers are read from it.
        self.begins = [0, *np.cumsum([len(sentence) for sentence in sentences]).tolist()]

    def epoch(self) -> list[Pair]:
        order = self.rng.permutation(self.documents).tolist()
        order.sort(key=self.has_choice)   # what cannot be balanced goes first, and the rest makes up for it
        pairs = [pair for document in order for pair in self.document(document)]
        return [pairs[i] for i in self.rng.permutation(len(pairs)).tolist()]

    def has_choice(self, document: int) -> bool:
        """Whether a document can give a true pair at all."""
        return self.first[document + 1] - self.first[document] > 1

    def document(self, document: int) -> Iterator[Pair]:
        """Walk through one document; see the module for the rules."""
        start, end = self.first[document], self.first[document + 1]
        while start < end:
            target = self.target()
            stop = bisect_left(self.begins, self.begins[start] + target, start + 1, end)
            alone = stop - start == 1
            cut = stop if alone else int(self.rng.integers(start + 1, stop))
            label = IS_RANDOM if alone else self.label()
            self.surplus += 1 if label == IS_RANDOM else -1
            b = _Span(cut, stop) if label == IS_NEXT else self.other(document, start, cut, stop, target)
            yield self.pair(_Span(start, cut), b, label)
            start = stop if label == IS_NEXT else cut   # what a random B replaced is put back

    def target(self) -> int:
        if self.rng.random() < self.short_pairs:
            return int(self.rng.integers(_MIN_TARGET, self.room + 1))
        return self.room

    def label(self) -> int:
        """A fair coin, or what brings the two labels back into balance."""
        if self.surplus == 0:
            return IS_RANDOM if self.rng.random() < 0.5 else IS_NEXT
        return IS_NEXT if self.surplus > 0 else IS_RANDOM

    def other(self, document: int, start: int, cut: int, stop: int, target: int) -> _Span:
        """Sentences of another document to stand in for sentences `cut` to `stop` of this one."""
        first, end = self.first[document], self.first[document + 1]
        there = int(self.rng.integers(len(self.begins) - 1 - (end - first)))
        if there >= first:   # every sentence but this document's, each as likely as the next
            there += end - first
        home = bisect_right(self.first, there) - 1
        low, high = self.first[home], self.first[home + 1]
        length, a_length = self.begins[stop] - self.begins[start], self.begins[cut] - self.begins[start]
        ends_early = stop > cut and length < target   # the document is over before the target
        goal = max(1, (length if ends_early else target) - a_length)
        # Too near the end of its document it would come out short: start earlier.
        latest = bisect_right(self.begins, self.begins[high] - goal, low, high) - 1
        there = max(low, min(there, latest))
        until = bisect_left(self.begins, self.begins[there] + goal, there + 1, high)
        if ends_early and until - there > 1:
            over = self.begins[until] - self.begins[there] - goal
            under = goal - (self.begins[until - 1] - self.begins[there])
            until -= under < over
        return _Span(there, until)

    def pair(self, a: _Span, b: _Span, label: int) -> Pair:
        """The tokens of two spans, cut to fit: the longer one loses tokens, at both ends by chance."""
        a_length, b_length = (self.begins[s.stop] - self.begins[s.start] for s in (a, b))
        a_kept, b_kept = fitted_lengths(a_length, b_length, self.room)
        return Pair(self.trimmed(a, a_length - a_kept), self.trimmed(b, b_length - b_kept), label)

    def trimmed(self, span: _Span, surplus: int) -> NDArray[np.int64]:
        in_front = int(self.rng.binomial(surplus, 0.5)) if surplus else 0
        return self.tokens[self.begins[span.start] + in_front:self.begins[span.stop] - (surplus - in_front)]


def fitted_lengths(a: int, b: int, room: int) -> tuple[int, int]:
    """What is left of two lengths if one by one the longer (B if equal) loses a token until they fit."""
    if a + b <= room:
        return a, b
    shorter = min(a, b)
    if 2 * shorter <= room:
        return (shorter, room - shorter) if a < b else (room - shorter, shorter)
    return room - room // 2, room // 2


def _cut(sentence: NDArray[np.int64], room: int) -> Iterator[NDArray[np.int64]]:
    """The sentence itself, or pieces of half a sequence; nothing if it is empty."""
    size = len(sentence) if len(sentence) <= room else room // 2
    for begin in range(0, len(sentence), size or 1):
        yield sentence[begin:begin + size]
