"""A document is a name and its sentences in order; here documents are counted, cleaned and split."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from minibert.errors import InputError
from minibert.text.randomness import stream

MIN_DOCUMENTS = 2
"""Next-sentence prediction takes its wrong answers from another document, so one is not enough."""

# Chinese characters and Japanese kana are written without blanks: each counts as a word.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class Document:
    """One text about one thing: what comes next in it is a true next sentence.

    name: what messages call it.  sentences: in order.  source: the file it was read from, or "".
    lines: for each sentence the line of `source` at which its paragraph starts; empty if not known.
    """
    name: str
    sentences: tuple[str, ...]
    source: str = ""
    lines: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.lines and len(self.lines) != len(self.sentences):
            raise ValueError(f"{self.name}: {len(self.sentences)} sentences but {len(self.lines)} lines")

    @property
    def words(self) -> int:
        """The number of words of all sentences."""
        return sum(map(count_words, self.sentences))

    def where(self, index: int) -> str:
        """The place of sentence `index`: "file:line", or "name, sentence 3" where there is no file."""
        if self.lines:
            return f"{self.source}:{self.lines[index]}"
        return f"{self.name}, sentence {index + 1}"


def count_words(text: str) -> int:
    """Words between blanks; in scripts without blanks every character counts as one."""
    if text.isascii():
        return len(text.split())
    spaced, unspaced = _UNSPACED.subn(" ", text)
    return len(spaced.split()) + unspaced


def deduplicate(documents: Iterable[Document]) -> list[Document]:
    """Keep the first occurrence of every sentence of the corpus; drop documents that become empty.

    Do this before `split_documents`: a sentence that stands on both sides of the split makes the
    held-out loss look better than it is.  Sentences are equal if they are equal to the letter.
    """
    seen: set[str] = set()
    kept = []
    for document in documents:
        fresh = []
        for index, sentence in enumerate(document.sentences):
            if sentence not in seen:
                seen.add(sentence)
                fresh.append(index)
        if fresh:
            kept.append(replace(
                document,
                sentences=tuple(document.sentences[i] for i in fresh),
                lines=tuple(document.lines[i] for i in fresh) if document.lines else (),
            ))
    return kept


def split_documents(
    documents: Sequence[Document], held_out: float, seed: int
) -> tuple[list[Document], list[Document]]:
    """(training documents, held-out documents): whole documents, `held_out` being a share of the words.

    The choice is a pure function of the documents and the seed; both lists keep the given order and
    hold at least two documents, because next-sentence prediction needs them.
    Raises InputError if the share is not between 0 and 1 or there are fewer than four documents.
    """
    if not 0.0 < held_out < 1.0:
        raise InputError(f"The held-out share is {held_out}, but it must lie between 0 and 1, as 0.05 does.")
    if len(documents) < 2 * MIN_DOCUMENTS:
        raise InputError(
            f"The corpus has {len(documents)} document{'s' * (len(documents) != 1)}, but at least "
            f"{2 * MIN_DOCUMENTS} are needed, because next-sentence prediction takes sentences of ANOTHER "
            "document, in training and in the held-out part: give more files, or separate the documents "
            "of a file with blank lines."
        )
    sizes = np.array([document.words for document in documents])
    order = stream(seed, "split").permutation(len(documents))
    chosen = _held_out_indices(sizes, order, held_out)
    train = [document for i, document in enumerate(documents) if i not in chosen]
    return train, [document for i, document in enumerate(documents) if i in chosen]


def _held_out_indices(sizes: np.ndarray, order: np.ndarray, share: float) -> set[int]:
    """In random order, take each document that brings the held-out words closer to their share."""
    target = share * sizes.sum()
    taken = 0
    chosen: set[int] = set()
    for index in order.tolist():
        if len(chosen) == len(sizes) - MIN_DOCUMENTS:
            break
        if taken + sizes[index] / 2 <= target:
            chosen.add(index)
            taken += sizes[index]
    for index in np.argsort(sizes, kind="stable").tolist():   # the smallest disturb the share least
        if len(chosen) >= MIN_DOCUMENTS:
            break
        chosen.add(index)
    return chosen
