"""Softmax over the last axis, and its logarithm."""

import math

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.registry import Op, register


def softmax(x: Array) -> tuple[Array, tuple]:
    """Positive numbers that sum to 1, in the proportions e^x.

        (1)  p = exp(x - max(x)) / sum(exp(x - max(x)))

    x (..., S)  ->  p (..., S).  The maximum cancels; without it exp overflows at x = 89 in float32.
    A row that is -inf everywhere has no proportions: it gives p = 0, and so its gradient is 0.
    """
    xp = array_module(x)
    largest = x.max(axis=-1, keepdims=True)
    largest = xp.where(largest == -xp.inf, 0.0, largest)
    p = xp.exp(x - largest)
    total = p.sum(axis=-1, keepdims=True)
    p /= total + (total == 0)                                             # (1)
    return p, (p,)


def softmax_backward(dp: Array, p: Array) -> tuple[Array]:
    """dp (..., S)  ->  dx (..., S).

        (1')  dx = p (dp - sum(dp p))

    Each row of dx sums to 0, because each row of p sums to 1 whatever x is.
    """
    dx = p * (dp - (dp * p).sum(axis=-1, keepdims=True))                  # (1')
    return (dx,)


def log_softmax(x: Array) -> tuple[Array, tuple]:
    """ln softmax(x), without the rounding of a logarithm of a small number.

        (1)  y = x - max(x) - ln(sum(exp(x - max(x))))

    x (..., S)  ->  y (..., S)
    """
    xp = array_module(x)
    y = x - x.max(axis=-1, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=-1, keepdims=True))                    # (1)
    return y, (y,)


def log_softmax_backward(dy: Array, y: Array) -> tuple[Array]:
    """dy (..., S)  ->  dx (..., S).

        (1')  dx = dy - exp(y) sum(dy)
    """
    dx = dy - array_module(dy).exp(y) * dy.sum(axis=-1, keepdims=True)    # (1')
    return (dx,)


def softmax_reference(x: Array) -> Array:
    p = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[:-1]):
        powers = [math.exp(v) for v in x[index]]
        if any(powers):
            p[index] = [e / math.fsum(powers) for e in powers]
    return p


def log_softmax_reference(x: Array) -> Array:
    return np.log(softmax_reference(x))


register(Op(softmax, softmax_backward, ("x",), r"p_i = \frac{e^{x_i}}{\sum_j e^{x_j}}",
            r"dx_i = p_i\,(dp_i - \sum_j dp_j\,p_j)", "x (..., S) -> p (..., S)", softmax_reference,
            kinks="a row that is -inf everywhere: p = 0 (instead of 0 / 0), and gradient 0"))
register(Op(log_softmax, log_softmax_backward, ("x",), r"y_i = x_i - \ln \sum_j e^{x_j}",
            r"dx_i = dy_i - e^{y_i} \sum_j dy_j", "x (..., S) -> y (..., S)", log_softmax_reference,
            kinks="a row that is -inf everywhere has no logarithm: NaN"))
