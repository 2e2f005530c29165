"""Do the labels of sentence pairs tell the truth?  Each pair is looked up in the corpus it was made from."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array
from minibert.debug.auditing.data import Data
from minibert.debug.auditing.finding import Finding, Verdict, check, ok, problem, skipped
from minibert.debug.auditing.patient import Batch
from minibert.errors import InputError
from minibert.ops.loss import IGNORE_INDEX
from minibert.text.batches import encode_documents
from minibert.text.documents import Document
from minibert.text.pairs import IS_NEXT, IS_RANDOM
from minibert.text.tokenizer import Tokenizer

Documents = Sequence[Document] | Sequence[Sequence[Array]]
UNIT = np.dtype(np.uint32)  # of the corpus as a string of bytes, in which to look for a part
BOUNDARY = np.iinfo(UNIT).max  # stands between documents
TOO_MANY = 1000  # places of a part that is so short that it says nothing
MISSING = 0.02  # share of texts that may not be found in the corpus
EXAMPLE = 12  # tokens of a pair that are shown


class Place(NamedTuple):
    """Where a part of a pair stands in the corpus: its document, and its tokens `start` to `stop` - 1."""

    document: int
    start: int
    stop: int


class Corpus:
    """All documents as one row of tokens.

    A part that was not cut is looked up between ends of sentences; one that may have been cut, anywhere.
    """

    def __init__(self, documents: Sequence[Sequence[Array]]) -> None:
        row: list[Array] = []
        self.begins: list[int] = []
        ends = {0}
        length = 0
        for document in documents:
            self.begins.append(length)
            for sentence in document:
                row.append(sentence.astype(UNIT))
                length += len(sentence)
                ends.add(length)
            row.append(np.array([BOUNDARY], UNIT))
            length += 1
            ends.add(length)
        self.ends = ends
        self.bytes = np.concatenate(row or [np.empty(0, UNIT)]).tobytes()

    def places(self, part: Array, whole: bool) -> list[Place]:
        """Every place of a part; if it is `whole` and stands somewhere as whole sentences, those places only."""
        found = [Place(bisect_right(self.begins, start) - 1, start, start + len(part))
                 for start in self._starts(part)]
        aligned = [place for place in found if place.start in self.ends and place.stop in self.ends]
        return aligned if whole and aligned else found

    def _starts(self, part: Array) -> Iterator[int]:
        wanted, at, found = part.astype(UNIT).tobytes(), -1, 0
        while wanted and found < TOO_MANY:
            at = self.bytes.find(wanted, at + 1)
            if at < 0:
                return
            if at % UNIT.itemsize == 0:
                found += 1
                yield at // UNIT.itemsize


class Pair(NamedTuple):
    """The two texts of a pair with their labels put back, and whether neither can have been cut."""

    a: Array
    b: Array
    label: int
    whole: bool


def audit_pairs(batches: Iterable[Batch], documents: Documents, tokenizer: Tokenizer) -> Finding:
    """Look every pair of some batches up in the documents that they were made from.

    batches: as `PretrainingBatches` yields them, from any maker of pairs.  documents: `Document`s, or for each the ids
    of its sentences, just as the maker got them (without the sentences that it removed).
    A pair is judged where each of its parts stands in one document only: labelled 1 it must come from two documents,
    labelled 0 its second part must follow the first.
    Raises InputError when there is no batch.
    """
    rows = list(batches)
    if not rows:
        raise InputError("there is no batch to look into")
    return negative_pairs(Data(rows, tokenizer, as_ids(documents, tokenizer)))


def as_ids(documents: Documents, tokenizer: Tokenizer) -> Sequence[Sequence[Array]]:
    """For each document the ids of its sentences."""
    texts = [document for document in documents if isinstance(document, Document)]
    return encode_documents(texts, tokenizer) if texts else documents  # type: ignore[return-value]


@check("negative pairs",
       "a wrong next sentence that is in fact the right one teaches the opposite of what it should; one from the same "
       "document is nearly as bad",
       "codertimo/BERT-pytorch #110, NVIDIA/DeepLearningExamples #421")
def negative_pairs(data: Data) -> Verdict:
    """Pairs labelled 1 come from two documents; in pairs labelled 0, B follows A."""
    if data.documents is None or data.tokenizer is None:
        return skipped("pass documents= and tokenizer= to have the pairs looked up in the corpus")
    corpus = Corpus(data.documents)
    pairs = _pairs_of(data.batches, data.tokenizer)
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    gap = max((len(pair.a) + len(pair.b) for pair in pairs), default=0)
    for number, pair in enumerate(pairs):
        data.watch(f"pair {number}")
        fate = judge(corpus, pair, gap)
        counts[fate] += 1
        examples.setdefault(fate, f"\"{_text(data.tokenizer, pair.a, end=True)} | {_text(data.tokenizer, pair.b)}\"")
    return _verdict(len(pairs), counts, examples)


def _verdict(total: int, counts: Counter[str], examples: dict[str, str]) -> Verdict:
    numbers: dict[str, Any] = {"pairs": total, **counts}
    judged = total - counts["missing"] - counts["ambiguous"]
    if total and counts["missing"] > MISSING * total:
        return problem(f"the text of {counts['missing']} of {total} pairs is not in the documents: the labels are not "
                       f"the original words, or these are other documents ({examples['missing']})", **numbers)
    faults = [f"{counts[fate]} {words}, for instance {examples[fate]}" for fate, words in (
        ("true next", "pairs labelled 1 (random) are true next sentences"),
        ("same document", "pairs labelled 1 (random) come from one document"),
        ("does not follow", "pairs labelled 0 (next) do not follow each other")) if counts[fate]]
    if faults:
        return problem(f"of {judged} pairs, {'; '.join(faults)}", **numbers)
    if not judged:
        return skipped(f"none of {total} pairs stands in one place of the corpus only: its sentences repeat", **numbers)
    return ok(f"{judged} of {total} pairs can be placed, and their labels are true", **numbers)


def judge(corpus: Corpus, pair: Pair, gap: int) -> str:
    """What is true of one pair.  gap: the largest number of tokens that may have been cut between A and B."""
    a, b = corpus.places(pair.a, pair.whole), corpus.places(pair.b, pair.whole)
    if not a or not b:
        return "missing"
    homes = {place.document for place in a}, {place.document for place in b}
    if any(len(home) > 1 for home in homes) or max(len(a), len(b)) >= TOO_MANY:
        return "ambiguous"
    cut = 0 if pair.whole else gap
    follows = any(first.document == second.document and 0 <= second.start - first.stop <= cut
                  for first in a for second in b)
    if pair.label == IS_NEXT:
        return "fine" if follows else "does not follow"
    if follows:
        return "true next"
    return "same document" if homes[0] == homes[1] else "fine"


def _pairs_of(batches: Sequence[Batch], tokenizer: Tokenizer) -> list[Pair]:
    """[CLS] A [SEP] B [SEP], taken apart; examples of another form and without a label are left out."""
    longest = max(int(batch["attention_mask"].sum(axis=1).max()) for batch in batches)
    pairs = []
    for batch in batches:
        text = np.where(batch["labels"] == IGNORE_INDEX, batch["input_ids"], batch["labels"])
        for ids, mask, label in zip(text, batch["attention_mask"], batch["next_sentence_label"], strict=True):
            real = ids[mask == 1]
            ends = np.flatnonzero(real == tokenizer.sep_id)
            if len(ends) == 2 and label in (IS_NEXT, IS_RANDOM) and ends[0] > 1 and ends[1] > ends[0] + 1:
                pairs.append(Pair(real[1:ends[0]], real[ends[0] + 1:ends[1]], int(label), len(real) < longest))
    return pairs


def _text(tokenizer: Tokenizer, ids: Array, end: bool = False) -> str:
    """The end or the beginning of a text, next to the other half of its pair."""
    cut = len(ids) > EXAMPLE
    words = tokenizer.decode(ids[-EXAMPLE:] if end else ids[:EXAMPLE])
    return ("... " if cut and end else "") + words + (" ..." if cut and not end else "")
