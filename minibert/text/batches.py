"""Batches to pretrain on: every batch is a pure function of (seed, step)."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from minibert.errors import InputError
from minibert.text.collate import collate
from minibert.text.documents import Document
from minibert.text.masking import mask_tokens
from minibert.text.pairs import Pair, make_pairs
from minibert.text.randomness import stream
from minibert.text.tokenizer import Tokenizer

Batch = dict[str, NDArray[np.int64]]
DocumentsIds = Sequence[Sequence[NDArray[np.int64]]]


def encode_documents(documents: Sequence[Document], tokenizer: Tokenizer) -> list[list[NDArray[np.int64]]]:
    """For each document the ids of its sentences, without special tokens."""
    ids = iter(tokenizer.ids([sentence for document in documents for sentence in document.sentences]))
    return [[next(ids) for _ in document.sentences] for document in documents]


class PretrainingBatches:
    """Masked sentence pairs, made anew for every epoch.

    A batch is a dictionary of int64 arrays: input_ids, token_type_ids, attention_mask and labels, each
    (B, T), and next_sentence_label (B,).  labels are IGNORE_INDEX but at the masked positions.

    Every epoch has as many batches as whole ones fit into epoch 0 (one at least), although another epoch
    may come out a few pairs longer or shorter: so the epoch of a step is a division, and no earlier epoch
    has to be made to find it.  An epoch takes the first pairs of its shuffled list; the few left over are
    others each time, and if a few are missing the list starts again.
    """

    def __init__(
        self,
        documents_ids: DocumentsIds,
        tokenizer: Tokenizer,
        batch_size: int,
        max_length: int,
        seed: int,
        mask_rate: float = 0.15,
        whole_word: bool = False,
        short_pairs: float = 0.1,
    ) -> None:
        """documents_ids: as `encode_documents` gives them; see `make_pairs` and `mask_tokens` for the rest.

        Raises InputError for sizes or shares out of range and for fewer than two documents.
        """
        _check_sizes(batch_size, mask_rate, short_pairs)
        self.documents_ids = documents_ids
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_length = max_length
        self.seed = seed
        self.mask_rate = mask_rate
        self.whole_word = whole_word
        self.short_pairs = short_pairs
        self._passes = 0
        self._latest = (0, self._make_pairs(0))
        self.steps_per_epoch = max(1, len(self._latest[1]) // batch_size)

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        tokenizer: Tokenizer,
        batch_size: int = 32,
        max_length: int = 128,
        seed: int = 0,
        mask_rate: float = 0.15,
        whole_word: bool = False,
        short_pairs: float = 0.1,
    ) -> Self:
        """Encode the documents and make batches of them: all that a plain training loop needs."""
        return cls(
            encode_documents(documents, tokenizer), tokenizer, batch_size, max_length, seed,
            mask_rate, whole_word, short_pairs,
        )

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs; the same whenever it is asked for."""
        epoch, position = divmod(step, self.steps_per_epoch)
        pairs = self._pairs(epoch)
        begin = position * self.batch_size
        rows = [pairs[i % len(pairs)] for i in range(begin, begin + self.batch_size)]
        return _masked_batch(
            rows, self.tokenizer, self.max_length, self.mask_rate, self.whole_word,
            stream(self.seed, "masks", step),
        )

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        """One epoch; each pass over the object is the next epoch, beginning with epoch 0."""
        first = self._passes * self.steps_per_epoch
        self._passes += 1
        return map(self.batch, range(first, first + self.steps_per_epoch))

    def _make_pairs(self, epoch: int) -> list[Pair]:
        return make_pairs(self.documents_ids, self.max_length, self.seed, epoch, self.short_pairs)

    def _pairs(self, epoch: int) -> list[Pair]:
        latest = self._latest   # read once and replaced whole: threads may share this object
        if latest[0] != epoch:
            latest = (epoch, self._make_pairs(epoch))
            self._latest = latest
        return latest[1]


def held_out_batches(
    documents_ids: DocumentsIds,
    tokenizer: Tokenizer,
    batch_size: int,
    max_length: int,
    seed: int,
    mask_rate: float = 0.15,
    whole_word: bool = False,
    limit: int | None = None,
) -> list[Batch]:
    """A fixed list of batches to evaluate on, with fixed pairs and fixed masks.

    All pairs of one epoch, or those of the first `limit` batches; the last batch may be smaller.  Batches
    as in `PretrainingBatches`, without shortened pairs.
    Raises InputError for sizes or shares out of range and for fewer than two documents.
    """
    _check_sizes(batch_size, mask_rate, short_pairs=0.0)
    pairs = make_pairs(documents_ids, max_length, seed, epoch=0, short_pairs=0.0)
    return [
        _masked_batch(
            pairs[begin:begin + batch_size], tokenizer, max_length, mask_rate, whole_word,
            stream(seed, "held-out masks", number),
        )
        for number, begin in enumerate(range(0, len(pairs), batch_size)[:limit])
    ]


def _masked_batch(
    pairs: Sequence[Pair],
    tokenizer: Tokenizer,
    max_length: int,
    mask_rate: float,
    whole_word: bool,
    rng: np.random.Generator,
) -> Batch:
    batch = collate(pairs, tokenizer, max_length)
    candidates = ~np.isin(batch["input_ids"], tokenizer.special_ids)
    batch["input_ids"], batch["labels"] = mask_tokens(
        batch["input_ids"], candidates, tokenizer, rng, mask_rate, whole_word
    )
    return batch


def _check_sizes(batch_size: int, mask_rate: float, short_pairs: float) -> None:
    if batch_size < 1:
        raise InputError(f"The batch size is {batch_size}, but a batch has 1 pair or more: take 32, say.")
    if not 0.0 < mask_rate < 1.0:
        raise InputError(f"The mask rate is {mask_rate}, but it must lie between 0 and 1: BERT takes 0.15.")
    if not 0.0 <= short_pairs <= 1.0:
        raise InputError(
            f"The share of short pairs is {short_pairs}, but it must lie in 0 to 1: BERT takes 0.1."
        )
