"""Exercises of notebook 3: positions."""

from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.ops.broadcast import unbroadcast

Shape = tuple[int, ...]


def _waves(t: Array, hidden: int, step: float = 2.0) -> Array:
    """The angles (T, hidden / 2)."""
    angles: Array = np.outer(t, 10000.0 ** (-step * np.arange(hidden // 2) / hidden))
    return angles


def _each_column(step: float) -> Any:
    """3.3 with a frequency for each column, where there is one for each pair."""
    def table(t: Array, hidden: int) -> Array:
        angles: Array = np.outer(t, 10000.0 ** (-step * np.arange(hidden) / hidden))
        return np.where(np.arange(hidden) % 2, np.cos(angles), np.sin(angles))
    return table


def _alternating(first: Array, second: Array) -> Array:
    return np.stack([first, second], axis=-1).reshape(len(first), -1)


def sinusoids(t: Array, hidden: int) -> Array:
    """The right answer to 3.3."""
    return _alternating(np.sin(_waves(t, hidden)), np.cos(_waves(t, hidden)))


def shifted(x: Array, k: int) -> Array:
    """Row t is row t + k of x, and 0 where there is none."""
    moved: Array = np.eye(len(x), k=k) @ x
    return moved


def _one(k: int, gradient: Array) -> Array:
    """dW where only the gradient of W[k] is not 0."""
    dW = np.zeros((3, *gradient.shape))
    dW[k] = gradient
    return dW


def convolution_backward(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
    """The right answer to 3.5."""
    dx = sum((shifted(dy, 1 - k) @ W[k].T for k in range(3)), np.zeros_like(x))
    return dx, np.stack([shifted(x, k - 1).T @ dy for k in range(3)])


def _rolled(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
    """3.5 with shifts that wrap around."""
    dx = sum((np.roll(dy, k - 1, axis=0) @ W[k].T for k in range(3)), np.zeros_like(x))
    return dx, np.stack([np.roll(x, 1 - k, axis=0).T @ dy for k in range(3)])


def _convolution_slip(way: int = -1, turned: bool = True, order: int = 1) -> Any:
    def backward(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
        dx = sum((shifted(dy, way * (k - 1)) @ (W[k].T if turned else W[k]) for k in range(3)), np.zeros_like(x))
        return dx, convolution_backward(dy, x, W)[1][::order]
    return backward


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="3.1", title="Follow a word", right=1.0,
        mistakes={"each row goes where its word goes, and another word stands at position 2 now": 2.0,
                  "that is where the word of old position 2 went; the question is who stands at position 2 now": 3.0,
                  "that is the row of the word a, which stands at position 1 now": 0.0},
        hints=("Attention without positions gives each word the same result in every order.",
               "Which word stands at position 2 of d a b c? Count from 0.",
               "It is b, and the result of b was row number 1.")),
    Backward(
        number="3.2", title="Write this backward: adding positions", op="add",
        cases=lambda rng: [(rng.standard_normal(x), rng.standard_normal(y))
                           for x, y in (((2, 4, 3), (4, 3)), ((3, 2, 5), (3, 2, 5)), ((5, 3, 2), (3, 2)))],
        mistakes={"y was added to every example, so its gradient is the sum over all of them": lambda dz, a, b: (
                      dz, dz),
                  "that is one example's gradient; all of them used y": lambda dz, a, b: (
                      dz, dz if a == b else dz[0]),
                  "a sum over the batch is wanted, and this is a mean": lambda dz, a, b: (
                      dz, dz if a == b else dz.mean(axis=0)),
                  "where y has the shape of x nothing was stretched, and nothing is summed": lambda dz, a, b: (
                      dz, dz.sum(axis=0)),
                  "the sum runs over the positions; y was stretched over the batch": lambda dz, a, b: (
                      dz, dz if a == b else dz.sum(axis=1)),
                  "dx and dy are exchanged: they come back in the order of the inputs": lambda dz, a, b: (
                      unbroadcast(dz, b), dz)},
        hints=("x went into the sum as it is, so what comes back to it is dz.",
               "If y has fewer axes than dz, it was stretched over the batch. What is stretched is summed.",
               "dy = dz where the shapes are equal, and dz.sum(axis=0) where y_shape is shorter. Return dx and dy.")),
    Function(
        number="3.3", title="Sinusoids", right=sinusoids, outputs=("P",),
        cases=lambda rng: [(rng.uniform(0, 40, 5), 8), (rng.uniform(0, 500, 3), 6)],
        mistakes={"sine and cosine alternate, column by column; here all sines come first": lambda t, hidden:
                      np.concatenate([np.sin(_waves(t, hidden)), np.cos(_waves(t, hidden))], axis=1),
                  "the exponent is 2 i / D, where i numbers the pairs of columns; this is i / D": lambda t, hidden:
                      _alternating(np.sin(_waves(t, hidden, 1.0)), np.cos(_waves(t, hidden, 1.0))),
                  "sine and cosine are exchanged: the even columns are sines": lambda t, hidden:
                      _alternating(np.cos(_waves(t, hidden)), np.sin(_waves(t, hidden))),
                  "the frequencies rise: 10000 must be raised to a negative power": lambda t, hidden:
                      _alternating(np.sin(_waves(t, hidden, -2.0)), np.cos(_waves(t, hidden, -2.0))),
                  "a sine and the cosine beside it have the same frequency; here each column has its own":
                      _each_column(1.0),
                  "i numbers the pairs of columns, from 0 to hidden / 2 - 1; here it numbers the columns":
                      _each_column(2.0)},
        hints=("There are hidden / 2 frequencies, and each has a sine and a cosine.",
               "w = 10000.0 ** (-np.arange(0, hidden, 2) / hidden), and the angles are np.outer(t, w).",
               "Make P = np.empty((len(t), hidden)), fill P[:, 0::2] with the sines and P[:, 1::2] with the cosines.")),
    Value(
        number="3.4", title="A position and itself", right=32.0,
        mistakes={"each pair of a sine and a cosine gives 1, and there are half as many pairs as columns": 64.0,
                  "that is what one pair gives; the pairs are added up": 1.0,
                  "that is the length of the vector; its square is asked": 32.0 ** 0.5,
                  "the cosine of 0 is 1, not 0": 0.0},
        hints=("Put s = t into the formula for the dot product.", "cos(0) is 1. How many terms has the sum?",
               "One for each pair of columns, and 64 columns are 32 pairs.")),
    Function(
        number="3.5", title="Write this backward: a convolution", right=convolution_backward, outputs=("dx", "dW"),
        cases=lambda rng: [(rng.standard_normal((T, H)), rng.standard_normal((T, H)), rng.standard_normal((3, H, H)))
                           for T, H in ((5, 3), (4, 2))],
        terms={"dx": {"dy[t + 1] W[0]^T": lambda dy, x, W: shifted(dy, 1) @ W[0].T,
                      "dy[t] W[1]^T": lambda dy, x, W: dy @ W[1].T,
                      "dy[t - 1] W[2]^T": lambda dy, x, W: shifted(dy, -1) @ W[2].T},
               "dW": {"x[t - 1]^T dy in dW[0]": lambda dy, x, W: _one(0, shifted(x, -1).T @ dy),
                      "x[t]^T dy in dW[1]": lambda dy, x, W: _one(1, x.T @ dy),
                      "x[t + 1]^T dy in dW[2]": lambda dy, x, W: _one(2, shifted(x, 1).T @ dy)}},
        mistakes={"the shifts of dx go the same way as forward; back they go the other way": _convolution_slip(way=1),
                  "np.roll wraps around: what leaves at one end must not come in at the other, where zeros stand":
                      _rolled,
                  "the matrices of dx must be transposed": _convolution_slip(turned=False),
                  "dW has its first and last matrix exchanged: W[0] met the word one before":
                      _convolution_slip(order=-1)},
        hints=("Forward, W[0] met x[t - 1], W[1] met x[t], and W[2] met x[t + 1]. Each is a matrix product.",
               "So dW[0] is the sum of x[t - 1]^T dy[t]: shift x as forward did, with zeros beyond the ends, and "
               "multiply.",
               "For dx: x[t] met W[0] when y[t + 1] was computed. So dy[t + 1] W[0]^T comes back to it.",
               "dx = S_1 dy W[0]^T + dy W[1]^T + S_-1 dy W[2]^T, where S_k = np.eye(T, k=k).")),
    Value(
        number="3.6", title="Two random rows", right=4.0,
        mistakes={"that is the variance; the standard deviation is its root": 16.0,
                  "that holds for numbers of variance 1; here a product of two has variance 1/4": 8.0,
                  "the variances of the two factors multiply: 1/2 times 1/2": 32.0 ** 0.5,
                  "that is the product of a row with itself; different rows have mean 0": 32.0,
                  "that is the mean; the products scatter around it": 0.0},
        hints=("The product is a sum of 64 independent terms. What variance has one of them?",
               "1/2 * 1/2 = 1/4, and 64 of them add up.",
               "The variance is 64 / 4 = 16; take its root.")))
