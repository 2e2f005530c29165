"""Exercises of notebook 6: the block."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value

Step = Callable[[Array], Array]


def block(x: Array, attend: Step, feed: Step, norm1: Step, norm2: Step) -> Array:
    """The right answer to 6.5."""
    x1 = norm1(x + attend(x))
    return norm2(x1 + feed(x1))


def _blocks(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.standard_normal((B, T, H)), _attend(rng, T), _feed(rng, H), _norm(rng, H), _norm(rng, H))
            for B, T, H in ((2, 5, 4), (3, 4, 6))]


def _attend(rng: np.random.Generator, T: int) -> Step:
    """A mean over positions, with random weights."""
    weights = rng.random((T, T))
    return lambda x: weights / weights.sum(axis=-1, keepdims=True) @ x


def _feed(rng: np.random.Generator, H: int) -> Step:
    w = rng.standard_normal((H, H))
    return lambda x: np.tanh(x @ w)


def _norm(rng: np.random.Generator, H: int) -> Step:
    """A layer normalisation with a gain and a bias of its own."""
    gamma, beta = rng.standard_normal((2, H))
    return lambda x: gamma * (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True) + beta


def _pre_norm(x: Array, attend: Step, feed: Step, norm1: Step, norm2: Step) -> Array:
    x1 = x + attend(norm1(x))
    return x1 + feed(norm2(x1))


def _side_by_side(x: Array, attend: Step, feed: Step, norm1: Step, norm2: Step) -> Array:
    x1 = norm1(x + attend(x))
    return norm2(x1 + feed(x))


def _first_x(x: Array, attend: Step, feed: Step, norm1: Step, norm2: Step) -> Array:
    return norm2(x + feed(norm1(x + attend(x))))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _mean(x: Array) -> Array:
    return x.mean(axis=-1, keepdims=True)


def _norm_backward(dy: Array, xhat: Array, rstd: Array, dxhat: Array, n: float = 1.0) -> tuple[Array, Array, Array]:
    """The backward of layer norm from dxhat; n: what the means are multiplied with."""
    dx = rstd * (dxhat - n * _mean(dxhat) - n * xhat * _mean(dxhat * xhat))
    return dx, _rows(dy * xhat).sum(axis=0), _rows(dy).sum(axis=0)


def _exchanged(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, Array, Array]:
    dx, dgamma, dbeta = _norm_backward(dy, xhat, rstd, dy * gamma)
    return dx, dbeta, dgamma


def _averaged(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, Array, Array]:
    return _norm_backward(dy, xhat, rstd, dy * gamma)[0], _rows(dy * xhat).mean(axis=0), _rows(dy).mean(axis=0)


def _pdf(x: Array) -> Array:
    return np.asarray(np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="6.1", title="How long is xhat?", right=float(np.sqrt(768)),
        mistakes={"that is the square of the length": 768.0,
                  "the mean of the squares is 1, and the length is the root of their sum": 1.0,
                  "the mean of the squares is 1, so their sum is 768, not one over it": float(1 / np.sqrt(768))},
        hints=("Variance 1 and mean 0: what is the mean of the squares of xhat?",
               "The mean of the squares is 1, and there are 768 of them. What is their sum?",
               "The sum is 768, and the length is the root of that.")),
    Backward(
        number="6.2", title="Write this backward: layer normalisation", op="layer_norm",
        cases=lambda rng: [(rng.standard_normal(shape), *rng.standard_normal((2, shape[-1])))
                           for shape in ((3, 5), (2, 4, 7), (1, 6))],
        given=("xhat", "rstd", "gamma"),
        terms={"dx": {"rstd dxhat": lambda dy, xhat, rstd, gamma: rstd * dy * gamma,
                      "-rstd mean(dxhat)": lambda dy, xhat, rstd, gamma: -rstd * _mean(dy * gamma) + 0 * dy,
                      "-rstd xhat mean(dxhat xhat)":
                          lambda dy, xhat, rstd, gamma: -rstd * xhat * _mean(dy * gamma * xhat)},
               "dgamma": {"sum(dy xhat)": lambda dy, xhat, rstd, gamma: _rows(dy * xhat).sum(axis=0)},
               "dbeta": {"sum(dy)": lambda dy, xhat, rstd, gamma: _rows(dy).sum(axis=0)}},
        factors={"dx": {"rstd": lambda dy, xhat, rstd, gamma: rstd}},
        mistakes={
            "(4) multiplied with gamma, so dxhat is dy gamma, and not dy":
                lambda dy, xhat, rstd, gamma: _norm_backward(dy, xhat, rstd, dy),
            "the two projections need means over the last axis, and these are sums":
                lambda dy, xhat, rstd, gamma: _norm_backward(dy, xhat, rstd, dy * gamma, xhat.shape[-1]),
            "dgamma and dbeta are exchanged: they come back in the order of the inputs": _exchanged,
            "gamma and beta are shared by all positions, so their gradients are sums, and not means": _averaged},
        hints=("Backward, so (4') first: dgamma, dbeta and dxhat = dy * gamma.",
               "gamma (H,) was used at every position: sum dy * xhat over all axes but the last, for example "
               "after reshape(-1, H).",
               "Then dxhat loses two parts: its mean, and xhat times the mean of dxhat * xhat. Both means run over "
               "the last axis, with keepdims=True.",
               "dx = rstd * (dxhat - dxhat.mean(...) - xhat * (dxhat * xhat).mean(...)).")),
    Value(
        number="6.3", title="Numbers in a feed-forward network", right=4722432.0, tolerance=1e-9,
        mistakes={"the two matrices are right; the biases are missing": 4718592.0,
                  "there are two matrices, one to widen and one to narrow, and two biases": 2362368.0,
                  "that is one map, with its bias: the way back to 768 is missing": 2362368.0 + 2304.0,
                  "that is the whole block, with attention and the norms": 7087872.0,
                  "the biases have as many numbers as comes out of each map: 3072 and 768": 4718592.0 + 2 * 3072.0},
        hints=("Two affine maps: from 768 to 3072, and back.",
               "Each has a matrix of 768 times 3072 numbers, and a bias as long as what comes out.",
               "2 * 768 * 3072 + 3072 + 768.")),
    Backward(
        number="6.4", title="Write this backward: GELU", op="gelu", given=("x", "cdf"),
        cases=lambda rng: [(1.5 * rng.standard_normal(shape),) for shape in ((3, 5), (2, 4, 3))],
        terms={"dx": {"dy Phi(x)": lambda dy, x, cdf: dy * cdf, "dy x phi(x)": lambda dy, x, cdf: dy * x * _pdf(x)}},
        mistakes={"the bell curve lacks its 1 / sqrt(2 pi)": lambda dy, x, cdf: dy * (cdf + x * np.exp(-x * x / 2)),
                  "the power of the bell curve is -x^2 / 2; the half is missing":
                      lambda dy, x, cdf: dy * (cdf + x * np.exp(-x * x) / np.sqrt(2 * np.pi)),
                  "the second term of the product rule is x times the derivative of Phi; x is missing":
                      lambda dy, x, cdf: dy * (cdf + _pdf(x)),
                  "Phi (1 - Phi) is the slope of a sigmoid; that of Phi is the bell curve":
                      lambda dy, x, cdf: dy * (cdf + x * cdf * (1 - cdf)),
                  "that is ReLU's": lambda dy, x, cdf: dy * (x > 0),
                  "the slope is right, and must be multiplied with dy": lambda dy, x, cdf: cdf + x * _pdf(x)},
        hints=("y = x Phi(x) is a product, and x is in both factors.",
               "The slope is Phi(x) + x Phi'(x). Phi(x) is given, as cdf.",
               "Phi' is the bell curve, exp(-x^2 / 2) / sqrt(2 pi).",
               "return dy * (cdf + x * np.exp(-x**2 / 2) / np.sqrt(2 * np.pi)).")),
    Function(
        number="6.5", title="The block, in four steps", right=block, cases=_blocks, outputs=("y",),
        mistakes={
            "the second residual is missing: step 4 normalises x1 + feed(x1)":
                lambda x, attend, feed, norm1, norm2: norm2(feed(norm1(x + attend(x)))),
            "the first residual is missing: step 2 normalises x + attend(x)":
                lambda x, attend, feed, norm1, norm2: _then(norm1(attend(x)), feed, norm2),
            "both residuals are missing":
                lambda x, attend, feed, norm1, norm2: norm2(feed(norm1(attend(x)))),
            "step 4 adds what step 2 gave, and not the x that the block began with": _first_x,
            "the feed-forward network works on what step 2 gave, and not on x": _side_by_side,
            "that is pre-norm: BERT normalises after each sum": _pre_norm,
            "norm1 is used twice; step 4 has a norm of its own":
                lambda x, attend, feed, norm1, norm2: block(x, attend, feed, norm1, norm1),
            "the norms are exchanged": lambda x, attend, feed, norm1, norm2: block(x, attend, feed, norm2, norm1),
            "the norm of step 2 is missing":
                lambda x, attend, feed, norm1, norm2: _then(x + attend(x), feed, norm2),
            "the norm of step 4 is missing":
                lambda x, attend, feed, norm1, norm2: _then(norm1(x + attend(x)), feed, lambda y: y)},
        hints=("Two lines of the same form, one for each sub-layer: norm(what went in + what came out of it).",
               "x1 = norm1(x + attend(x)) are the steps 1 and 2.",
               "The second line is the same with x1 in the place of x: return norm2(x1 + ...).")),
    Value(
        number="6.6", title="Past all sub-layers", right=4096.0,
        mistakes={"a block has two norms, so there are 24 of them": 64.0,
                  "each norm divides by the root of 2, the deviation, and not by 2, the variance": 2.0**24,
                  "the factors of the norms multiply": float(24 * np.sqrt(2)),
                  "that is what is left of it; by what was it divided?": 1 / 4096,
                  "that is one block: two norms, each divides by the root of 2": 2.0},
        hints=("Variances of independent numbers add up. What is the deviation of x + f(x)?",
               "A norm divides by the deviation, forward and backward: here by the root of 2. How many norms are "
               "there in 12 blocks?",
               "24 norms, each a root of 2: 2 to the power of 12.")))


def _then(x1: Array, feed: Step, norm2: Step) -> Array:
    """Steps 3 and 4."""
    return norm2(x1 + feed(x1))
