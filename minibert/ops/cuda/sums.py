"""Sums over the rows of a matrix: the gradients of biases and normalisation gains."""

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.cuda.launcher import each_column, rows_of

CHUNK = 256  # rows that one block adds up: enough blocks for a whole GPU, whose sums are added up in turn


def column_sums(dy: Array) -> Array:
    """sum of dy over all axes but the last: (..., H) -> (H,)."""
    return _sums(dy, None)[1]


def weighted_column_sums(dy: Array, xhat: Array) -> tuple[Array, Array]:
    """Sums of dy xhat and of dy, both read once: (..., H), (..., H) -> (H,), (H,)."""
    dgamma, dbeta = _sums(dy, xhat)
    assert dgamma is not None
    return dgamma, dbeta


def _sums(dy: Array, xhat: Array | None) -> tuple[Array | None, Array]:
    (rows, H), xp = rows_of(dy), array_module(dy)
    chunks = max(1, -(-rows // CHUNK))
    shape = (H,) if chunks == 1 else (chunks, H)
    dgamma, dbeta = None if xhat is None else xp.empty(shape, dy.dtype), xp.empty(shape, dy.dtype)
    each_column("column_sums", H, chunks, dy, xhat, dgamma, dbeta, np.int64(rows), np.int32(H), np.int32(CHUNK))
    if chunks == 1:
        return dgamma, dbeta
    return None if dgamma is None else column_sums(dgamma), column_sums(dbeta)
