"""Lay sentence pairs side by side in rectangular arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minibert.text.pairs import PAIR_SPECIALS, Pair
from minibert.text.tokenizer import Tokenizer

_LENGTH_MULTIPLE = 8   # matrix products like it, and fewer different shapes occur


def collate(pairs: Sequence[Pair], tokenizer: Tokenizer, max_length: int) -> dict[str, NDArray[np.int64]]:
    """The pairs as [CLS] a [SEP] b [SEP], padded to the longest, rounded up to a multiple of 8.

    Returns int64 arrays: input_ids, token_type_ids (1 for b and its [SEP]) and attention_mask (1 for what
    is not padding), each (B, T) with T <= max_length, and next_sentence_label (B,).
    """
    longest = max(len(pair.a) + len(pair.b) for pair in pairs) + PAIR_SPECIALS
    length = min(max_length, -(-longest // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE)
    shape = (len(pairs), length)
    input_ids = np.full(shape, tokenizer.pad_id, dtype=np.int64)
    token_type_ids = np.zeros(shape, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    cls, sep = [tokenizer.cls_id], [tokenizer.sep_id]
    for row, pair in enumerate(pairs):
        second = len(pair.a) + 2
        end = second + len(pair.b) + 1
        input_ids[row, :end] = np.concatenate([cls, pair.a, sep, pair.b, sep])
        token_type_ids[row, second:end] = 1
        attention_mask[row, :end] = 1
    return {
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "attention_mask": attention_mask,
        "next_sentence_label": np.array([pair.label for pair in pairs], dtype=np.int64),
    }
