"""Scaled dot-product attention, with a mask and with dropout on the probabilities."""

import math

import numpy as np

from minibert.backend import Array, array_module, beside, row_dots
from minibert.errors import InputError
from minibert.ops.dropout import SURVIVORS, DropoutKey, draw, dropped, keep_part
from minibert.ops.registry import Op, register


def attention_probs(q: Array, k: Array, mask: Array | None = None) -> Array:
    """Who looks at whom: formulas (1) and (2) of `attention`, as probabilities (B, A, T, S)."""
    xp = array_module(q)
    scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2)       # (1)  (B, A, T, S): q has fewer numbers to scale
    if mask is not None:
        if mask.dtype.kind == "f":
            raise InputError("an attention mask says True where a query may look; this one is floating-point, "
                             "as for adding to the scores: pass mask == 0")
        scores += xp.where(beside(mask, q), 0.0, -xp.inf).astype(scores.dtype)
    largest = scores.max(axis=-1, keepdims=True)
    scores -= xp.where(largest == -xp.inf, 0.0, largest)          # a row that may look nowhere gets probs = 0
    probs = xp.exp(scores, out=scores)
    total = probs @ xp.ones((probs.shape[-1], 1), probs.dtype)    # a row's sum; quicker so than by `sum`
    probs *= 1.0 / (total + (total == 0))                         # (2)
    return probs


def attention(q: Array, k: Array, v: Array, mask: Array | None = None, p: float = 0.0,
              key: DropoutKey | None = None) -> tuple[Array, tuple]:
    """Each query takes the mean of the values, weighted by how well their keys match it.

        (1)  scores  = q k^T / sqrt(D), and -inf where not mask
        (2)  probs   = softmax(scores)
        (3)  context = dropout(probs) v

    q (B, A, T, D), k and v (B, A, S, D), mask broadcast to (B, A, T, S): True = may look
    ->  context (B, A, T, D).  A query that may look nowhere gets context 0 and gradient 0.
    p > 0 drops probabilities, by `key`.  Raises InputError for a floating-point mask.
    Vaswani et al. 2017, eq. 1 (arXiv:1706.03762).
    """
    probs = attention_probs(q, k, mask)                           # (1) (2)
    keep, scale = draw(probs, p, key)
    context = dropped(probs, keep, scale) @ v                     # (3)
    return context, (q, k, v, probs, keep, scale)


def attention_backward(dcontext: Array, q: Array, k: Array, v: Array, probs: Array, keep: Array | None,
                       scale: float) -> tuple[Array, Array, Array]:
    """dcontext (B, A, T, D)  ->  dq (B, A, T, D), dk and dv (B, A, S, D).

        (3')  dprobs = dropout(dcontext v^T),  dv = dropout(probs)^T dcontext
        (2')  dscores = probs (dprobs - sum(dprobs probs))
        (1')  dq = dscores k / sqrt(D),  dk = dscores^T q / sqrt(D)
    """
    dv = dropped(probs, keep, scale).swapaxes(-1, -2) @ dcontext
    dprobs = dropped(dcontext @ v.swapaxes(-1, -2), keep, scale)          # (3')
    dscores = dprobs
    dscores -= row_dots(dprobs, probs)[..., None]
    dscores *= probs                                                      # (2')
    dq = dscores @ (k * q.shape[-1] ** -0.5)                              # (1')
    dk = dscores.swapaxes(-1, -2) @ (q * q.shape[-1] ** -0.5)
    return dq, dk, dv


def attention_reference(q: Array, k: Array, v: Array, mask: Array | None = None, p: float = 0.0,
                        key: DropoutKey | None = None) -> Array:
    B, A, T, D = q.shape
    S = k.shape[2]
    look = np.broadcast_to(True if mask is None else mask, (B, A, T, S))
    kept = keep_part((B, A, T, S), p, key) if key else np.ones((B, A, T, S))
    context = np.zeros((B, A, T, D))
    for b, a, t in np.ndindex(B, A, T):
        powers = [math.exp(math.fsum(q[b, a, t] * k[b, a, s]) / math.sqrt(D)) if look[b, a, t, s] else 0.0
                  for s in range(S)]
        for s in range(S):
            if powers[s] and kept[b, a, t, s]:
                context[b, a, t] += powers[s] / math.fsum(powers) / (1 - round(p * 65536) / 65536) * v[b, a, s]
    return context


register(Op(attention, attention_backward, ("q", "k", "v"),
            r"c = \tilde P \cdot v,\; \tilde P = \frac{r\,P}{1 - p},\; P = \mathrm{softmax}(Z),\;"
            r" Z = \frac{q \cdot k^\top}{\sqrt D} + \ln m,\; r \sim \mathrm{Bernoulli}(1 - p)",
            r"dv = \tilde P^\top \cdot dc,\; d\tilde P = dc \cdot v^\top,\; dP = \frac{r\,d\tilde P}{1 - p},\;"
            r" dZ_{ts} = P_{ts}\,(dP_{ts} - \sum_j dP_{tj}\,P_{tj}),\;"
            r" dq = \frac{dZ \cdot k}{\sqrt D},\; dk = \frac{dZ^\top \cdot q}{\sqrt D}",
            "q (B, A, T, D), k, v (B, A, S, D), mask (B, A, T, S) -> context (B, A, T, D)", attention_reference,
            "Vaswani et al. 2017, eq. 1 (arXiv:1706.03762)",
            notation={"context": "c", "probs": "P", "mask": "m",
                      "m": r"\text{1 where a query may look, 0 elsewhere}", **SURVIVORS},
            kinks="a query that may look nowhere: context 0 and gradient 0"))
