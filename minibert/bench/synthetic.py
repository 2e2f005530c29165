"""The batch that everybody learns from: random words, since only its size costs time."""

import numpy as np

from minibert.backend import Array
from minibert.bench.shape import FIRST_WORD, Shape
from minibert.ops.loss import IGNORE_INDEX


def synthetic_batch(shape: Shape, seed: int = 0) -> dict[str, Array]:
    """Two segments, no padding, and labels at the same number of random positions of every sequence.

    Keys and dtypes are those of BertForPreTraining's arguments; all arrays are (B, T) but next_sentence_label (B,).
    """
    rng = np.random.default_rng(seed)
    B, T = shape.batch, shape.length
    ids = rng.integers(FIRST_WORD, shape.vocabulary, (B, T))
    positions = rng.permuted(np.tile(np.arange(T), (B, 1)), axis=1)[:, :shape.masked // B]
    labels = np.full((B, T), IGNORE_INDEX)
    np.put_along_axis(labels, positions, np.take_along_axis(ids, positions, 1), 1)
    segments = np.broadcast_to(np.arange(T) >= (T + 1) // 2, (B, T)).astype(np.int64)
    return {"input_ids": ids, "token_type_ids": segments, "attention_mask": np.ones((B, T), np.int64),
            "labels": labels, "next_sentence_label": rng.integers(0, 2, B)}
