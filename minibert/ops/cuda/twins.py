"""The CUDA twin of each hot operation, under the operation's own name, for float32 arrays on a GPU.

A twin takes what the formula takes and returns what it returns; what it saves for its backward is its own affair.
"""

import math
from typing import Any

import numpy as np

from minibert.backend import Array, array_module, beside, device_of
from minibert.errors import InputError
from minibert.ops.cuda.blas import gemm
from minibert.ops.cuda.launcher import contiguous, each_number, each_row, each_tile, one_block, rows_of
from minibert.ops.cuda.products import (
    gelu,
    gelu_backward,
    linear,
    linear_backward,
    linear_gelu,
    linear_gelu_backward,
    matmul,
    matmul_backward,
)
from minibert.ops.cuda.sums import column_sums, weighted_column_sums
from minibert.ops.dropout import LEVELS, DropoutKey, survivor_scale
from minibert.ops.loss import IGNORE_INDEX, check_labels
from minibert.ops.registry import add_twin


# ------------------------------------------------------------------------------------------------------------ dropout
def draw(x: Array, p: float, key: DropoutKey | None) -> tuple[Array | None, float]:
    """minibert.ops.dropout.draw, on the GPU: the same bits.  key.step may be a number on the GPU."""
    if p == 0.0 or key is None:
        return None, 1.0
    xp = array_module(x)
    keep = xp.empty(x.shape, bool)
    step = key.step if hasattr(key.step, "dtype") else xp.full((), key.step, np.uint64)
    chosen = np.uint64(key.seed), step, np.uint64(key.site), np.int64(key.start), np.uint32(round(p * LEVELS))
    if key.part is None:
        each_number("keep_mask", -(-x.size // 16) + 1, keep, np.int64(x.size), *chosen)
    else:
        rows, length = rows_of(x)
        each_number("keep_rows", x.size, keep, row_places(key, x), np.int64(rows), np.int32(length), *chosen)
    return keep, survivor_scale(p)


def row_places(key: DropoutKey, x: Array) -> Array:
    """Where each row of a part begins in the whole array."""
    assert key.part is not None
    xp, (*rows, length), index = array_module(x), key.part.shape, key.part.index
    places = xp.arange(0, math.prod(key.part.shape), length, np.int64).reshape(rows)
    index = tuple(beside(part, x) for part in index) if isinstance(index, tuple) else beside(index, x)
    return contiguous(places[index]).reshape(-1)


def drop(x: Array, keep: Array | None, scale: float) -> Array:
    """x keep scale; x itself when nothing is dropped."""
    if keep is None:
        return x
    y = array_module(x).empty(x.shape, x.dtype)
    each_number("drop", x.size, contiguous(x), keep, y, np.int64(x.size), np.float32(scale))
    return y


def dropout(x: Array, p: float, key: DropoutKey) -> tuple[Array, tuple]:
    keep, scale = draw(x, p, key)
    return drop(x, keep, scale), (keep, scale)


def dropout_backward(dy: Array, keep: Array | None, scale: float) -> tuple[Array]:
    return (drop(dy, keep, scale),)


# ---------------------------------------------------------------------------------------------------------- attention
def attention(q: Array, k: Array, v: Array, mask: Array | None = None, p: float = 0.0,
              key: DropoutKey | None = None) -> tuple[Array, tuple]:
    q, k, v = contiguous(q), contiguous(k), contiguous(v)
    xp, (B, A, T, D), S = array_module(q), q.shape, k.shape[2]
    scores = gemm(q, k, tb=True)
    probs = xp.empty(scores.shape, scores.dtype)
    keep, scale = draw(probs, p, key)
    dropped = None if keep is None else xp.empty(scores.shape, scores.dtype)
    mask = None if mask is None else beside(mask, q)
    if mask is not None and mask.dtype != bool:
        raise InputError("an attention mask says True where a query may look: pass mask == 0 for one that is added")
    strides = (0,) * 4 if mask is None else xp.broadcast_to(mask, scores.shape).strides
    each_row("masked_softmax", B * A * T, S, scores, mask, keep, probs, dropped, *map(np.int32, (A, T, S)),
             np.float32(D ** -0.5), np.float32(scale), *map(np.int64, strides[:3]), np.int32(strides[3]))
    context = gemm(probs if dropped is None else dropped, v)
    return context, (q, k, v, probs, keep, scale)


def attention_backward(dcontext: Array, q: Array, k: Array, v: Array, probs: Array, keep: Array | None,
                       scale: float) -> tuple[Array, Array, Array]:
    dcontext, (rows, S) = contiguous(dcontext), rows_of(probs)
    dv = gemm(drop(probs, keep, scale), dcontext, ta=True)
    ddropped = gemm(dcontext, v, tb=True)
    dscores = array_module(q).empty(probs.shape, probs.dtype)
    each_row("masked_softmax_backward", rows, S, ddropped, probs, keep, dscores, np.int32(S), np.float32(scale))
    alpha = q.shape[-1] ** -0.5
    return gemm(dscores, k, alpha=alpha), gemm(dscores, q, ta=True, alpha=alpha), dv


# ------------------------------------------------------------------------------------------------------ normalisation
def normalise(h: Array | None, bias: Array | None, x: Array, gamma: Array, beta: Array, eps: float, keep: Array | None,
              scale: float) -> tuple[Array, tuple]:
    xp, x = array_module(x), contiguous(x)
    rows, H = rows_of(x)
    y, xhat, rstd = xp.empty(x.shape, x.dtype), xp.empty(x.shape, x.dtype), xp.empty((*x.shape[:-1], 1), x.dtype)
    h, bias, gamma, beta = (None if a is None else contiguous(a) for a in (h, bias, gamma, beta))
    each_row("add_norm", rows, H, h, bias, x, keep, gamma, beta, y, xhat, rstd, np.int32(H), np.float32(scale),
             np.float32(eps))
    return y, (xhat, rstd, gamma, keep, scale, bias is not None)


def add_norm(h: Array, x: Array, gamma: Array, beta: Array, eps: float = 1e-12, p: float = 0.0,
             key: DropoutKey | None = None, bias: Array | None = None) -> tuple[Array, tuple]:
    return normalise(h, bias, x, gamma, beta, eps, *draw(h, p, key))


def add_norm_backward(dy: Array, xhat: Array, rstd: Array, gamma: Array, keep: Array | None, scale: float,
                      has_bias: bool) -> tuple[Array, Array, Array, Array, Array | None]:
    xp, dy = array_module(dy), contiguous(dy)
    rows, H = rows_of(dy)
    ds = xp.empty(dy.shape, dy.dtype)
    dh = ds if keep is None else xp.empty(dy.shape, dy.dtype)
    each_row("add_norm_backward", rows, H, dy, xhat, rstd, gamma, keep, ds, dh, np.int32(H), np.float32(scale))
    return dh, ds, *weighted_column_sums(dy, xhat), column_sums(dh) if has_bias else None


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-12) -> tuple[Array, tuple]:
    y, saved = normalise(None, None, x, gamma, beta, eps, None, 1.0)
    return y, saved[:3]


def layer_norm_backward(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, Array, Array]:
    _, dx, dgamma, dbeta, _ = add_norm_backward(dy, xhat, rstd, gamma, None, 1.0, has_bias=False)
    return dx, dgamma, dbeta


# ------------------------------------------------------------------------------------------------- loss and embedding
def cross_entropy(logits: Array, labels: Array, count: Any = None) -> tuple[Array, tuple]:
    """count may be a float32 number on the GPU; labels that are there are not looked at."""
    if labels.shape != logits.shape[:-1]:
        raise InputError(f"logits {logits.shape} need labels {logits.shape[:-1]}, one a row, not {labels.shape}")
    if device_of(labels) == "cpu":
        check_labels(labels[labels != IGNORE_INDEX], logits.shape[-1])
        count = int((labels != IGNORE_INDEX).sum()) if count is None else count
    xp, logits, labels = array_module(logits), contiguous(logits), beside(labels, logits).astype(np.int64).reshape(-1)
    if count is None:
        count = (labels != IGNORE_INDEX).sum().astype(np.float32)
    count = count if hasattr(count, "dtype") else xp.full((), count, np.float32)
    rows, V = rows_of(logits)
    p, surprise, loss = xp.empty(logits.shape, logits.dtype), xp.empty(rows, logits.dtype), xp.empty((), logits.dtype)
    each_row("cross_entropy", rows, V, logits, labels, p, surprise, np.int32(V), np.int64(IGNORE_INDEX))
    one_block("mean_surprise", surprise, count, loss, np.int64(rows))
    return loss, (p, labels, count)


def cross_entropy_backward(dloss: Array, p: Array, labels: Array, count: Array) -> tuple[Array]:
    rows, V = rows_of(p)
    dlogits = array_module(p).empty(p.shape, p.dtype)
    each_row("cross_entropy_backward", rows, V, dloss, p, labels, count, dlogits, np.int32(V), np.int64(IGNORE_INDEX))
    return (dlogits,)


def embedding(table: Array, ids: Array) -> tuple[Array, tuple]:
    """Ids that are on the GPU are not looked at."""
    if device_of(ids) == "cpu" and ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        raise InputError(f"ids must be rows of this table, 0 .. {len(table) - 1}, and these are {ids.min()} .. "
                         f"{ids.max()}")
    ids = beside(ids, table)
    return table[ids], (ids, table.shape)


def embedding_backward(dy: Array, ids: Array, table_shape: tuple, into: Array | None = None) -> tuple[Array]:
    """The same bits each time."""
    dtable = array_module(dy).zeros(table_shape, dy.dtype) if into is None else into
    ids, H = contiguous(ids).astype(np.int64, copy=False), table_shape[-1]
    first = array_module(dy).empty(ids.size, bool)
    each_row("first_of_id", ids.size, ids.size, ids, first)
    each_tile("embedding_backward", ids.size, H, contiguous(dy), ids, first, dtable, np.int64(ids.size), np.int32(H))
    return (dtable,)


for forward, backward in ((dropout, dropout_backward), (matmul, matmul_backward), (linear, linear_backward),
                          (gelu, gelu_backward), (linear_gelu, linear_gelu_backward),
                          (attention, attention_backward), (add_norm, add_norm_backward),
                          (layer_norm, layer_norm_backward), (cross_entropy, cross_entropy_backward),
                          (embedding, embedding_backward)):
    add_twin(forward, backward)
