"""Exercises of notebook 9: BERT whole."""

import math
from typing import Any

import numpy as np

from minibert import functional as F
from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.lab.toys import Toy
from minibert.nn.module import Parameter
from minibert.tensor import Tensor


def deep_probe() -> Toy:
    """A probe of two linear maps, which learns in which quarter of the plane a point lies."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((50, 2))
    quarter = 2 * (x[:, 0] > 0) + (x[:, 1] > 0)
    w1, b1, w2, b2 = (Parameter(0.5 * rng.standard_normal(shape)) for shape in ((12, 2), (12,), (4, 12), (4,)))

    def loss() -> Tensor:
        return F.cross_entropy(F.linear(F.tanh(F.linear(Tensor(x), w1, b1)), w2, b2), quarter)
    return Toy("a probe of two linear maps", (w1, b1, w2, b2), loss)


def _softmax(z: Array, axis: int = 1) -> Array:
    p = np.exp(z - z.max(axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


def _truth(y: Array, W: Array) -> Array:
    return np.eye(len(W))[y]


def probe_gradient(x: Array, y: Array, W: Array, b: Array) -> tuple[Array, Array]:
    """The right answer to 9.4."""
    dz = (_softmax(x @ W.T + b) - _truth(y, W)) / len(x)
    return dz.T @ x, dz.sum(axis=0)


def _wrong_axis(x: Array, y: Array, W: Array, b: Array) -> tuple[Array, Array]:
    dz = (_softmax(x @ W.T + b, axis=0) - _truth(y, W)) / len(x)
    return dz.T @ x, dz.sum(axis=0)


def _one_softmax(x: Array, y: Array, W: Array, b: Array) -> tuple[Array, Array]:
    powers = np.exp(x @ W.T + b)
    dz = (powers / powers.sum() - _truth(y, W)) / len(x)
    return dz.T @ x, dz.sum(axis=0)


def _mean_bias(x: Array, y: Array, W: Array, b: Array) -> tuple[Array, Array]:
    dW, db = probe_gradient(x, y, W, b)
    return dW, db / len(x)


def _without_softmax(x: Array, y: Array, W: Array, b: Array) -> tuple[Array, Array]:
    dz = (x @ W.T + b - _truth(y, W)) / len(x)
    return dz.T @ x, dz.sum(axis=0)


def _tokens(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.standard_normal((N, width)), rng.integers(0, C, N), rng.standard_normal((C, width)),
             rng.standard_normal(C)) for N, width, C in ((7, 3, 4), (5, 6, 2), (9, 2, 3))]


def nearest(E: Array, i: int, k: int) -> Array:
    """The right answer to 9.6."""
    return _best(_cosines(E, i), i, k)


def _cosines(E: Array, i: int) -> Array:
    unit = E / np.linalg.norm(E, axis=1, keepdims=True)
    return unit @ unit[i]


def _best(scores: Array, i: int, k: int) -> Array:
    order = np.argsort(-scores)
    return order[order != i][:k]


def _tables(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.standard_normal((V, H)) * rng.uniform(0.2, 4.0, (V, 1)), i, k)
            for V, H, i, k in ((40, 4, 3, 6), (25, 3, 11, 5), (60, 6, 0, 8))]


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="9.1", title="Perplexity", right=math.exp(4.16), tolerance=0.01,
        mistakes={"that is 2 to the power of the loss, which is right for bits; the loss is in nats": 2**4.16,
                  "that is the loss itself": 4.16,
                  "that is the probability of the right piece; how many equally likely pieces is that?":
                      math.exp(-4.16)},
        hints=("A model that is in doubt among n equally likely pieces has the loss ln n.",
               "So n is e to the power of the loss.",
               "np.exp(4.16).")),
    Value(
        number="9.2", title="A published loss", right="no",
        mistakes={"yes": "chance is ln 2, about 0.693, and 0.71 is above it: guessing does better"},
        hints=("Which loss has one who says 1/2 to everything?",
               "ln 2. Is 0.71 below it?")),
    Backward(
        number="9.3", title="Write this backward: a linear map", op="linear", given=("x", "weight"), toy=deep_probe,
        cases=lambda rng: [(rng.standard_normal((n, i)), rng.standard_normal((o, i)), rng.standard_normal(o))
                           for n, i, o in ((5, 3, 4), (2, 6, 3), (4, 4, 4))],
        terms={"dx": {"dy W": lambda dy, x, weight: dy @ weight},
               "dweight": {"dy^T x": lambda dy, x, weight: dy.T @ x},
               "dbias": {"sum(dy)": lambda dy, x, weight: dy.sum(axis=0)}},
        mistakes={"dweight is turned round: it must have the weight's shape, (O, I)":
                      lambda dy, x, weight: (dy @ weight, x.T @ dy, dy.sum(axis=0)),
                  "the bias is added to every row, so its gradient is the sum over them, not the mean":
                      lambda dy, x, weight: (dy @ weight, dy.T @ x, dy.mean(axis=0)),
                  "dbias is summed over the wrong axis: one number for each output":
                      lambda dy, x, weight: (dy @ weight, dy.T @ x, dy.sum(axis=1)),
                  "dx and dweight are exchanged: they come back in the order of the inputs":
                      lambda dy, x, weight: (dy.T @ x, dy @ weight, dy.sum(axis=0))},
        hints=("It is the matrix product of notebook 1, y = x W^T, and a bias that is added to each row.",
               "By the shapes: dx (N, I) is made of dy (N, O) and W (O, I).",
               "dweight (O, I) is made of dy (N, O) and x (N, I): one of them must be transposed.",
               "return dy @ weight, dy.T @ x, dy.sum(axis=0).")),
    Function(
        number="9.4", title="The gradient of a probe", right=probe_gradient, cases=_tokens, outputs=("dW", "db"),
        terms={"dW": {"p^T x / N": lambda x, y, W, b: _softmax(x @ W.T + b).T @ x / len(x),
                      "-truth^T x / N": lambda x, y, W, b: -_truth(y, W).T @ x / len(x)},
               "db": {"sum(p) / N": lambda x, y, W, b: _softmax(x @ W.T + b).mean(axis=0),
                      "-sum(truth) / N": lambda x, y, W, b: -_truth(y, W).mean(axis=0)}},
        factors={"dW": {"1 / N": lambda x, y, W, b: 1 / len(x)}, "db": {"1 / N": lambda x, y, W, b: 1 / len(x)}},
        mistakes={"the softmax runs over the tokens; each token has its own, over the classes": _wrong_axis,
                  "the softmax runs over the whole array; each token has its own": _one_softmax,
                  "db was divided by N twice: dz is divided already, so it is a sum": _mean_bias,
                  "dW is turned round: it must have W's shape, (C, I)": lambda x, y, W, b: (
                      probe_gradient(x, y, W, b)[0].T, probe_gradient(x, y, W, b)[1]),
                  "scores are no probabilities: the softmax is missing": _without_softmax},
        hints=("Forward first: z = x W^T + b, and p = softmax(z), row by row.",
               "What comes back to z is (p - truth) / N, where truth has a 1 at each token's class.",
               "np.eye(len(W))[y] is truth. Then the backward of a linear map, exercise 9.3.",
               "dz = (p - np.eye(len(W))[y]) / len(x); return dz.T @ x, dz.sum(axis=0).")),
    Value(
        number="9.5", title="Above the baseline", right=0.02 / 0.21, tolerance=0.02,
        mistakes={"that is the difference in points; which share is it of the 21 % that were wrong?": 0.02,
                  "that is how often it is right, which the baseline nearly is as well": 0.81,
                  "compare it with the baseline's errors, not with what it gets right": 0.02 / 0.79,
                  "compare it with the baseline's errors, not with the probe's": 0.02 / 0.19},
        hints=("Always saying \"no\" is right for 79 %. How many errors is that?",
               "21 % are errors of the baseline, 19 % of the probe.",
               "(0.21 - 0.19) / 0.21.")),
    Function(
        number="9.6", title="The nearest words", right=nearest, cases=_tables, outputs=("rows",),
        mistakes={"row i itself is in it: leave it out":
                      lambda E, i, k: np.argsort(-_cosines(E, i))[:k],
                  "these are the farthest: sort from the largest cosine down":
                      lambda E, i, k: _best(-_cosines(E, i), i, k),
                  "these are by the product E E_i, in which long vectors win: divide by the lengths":
                      lambda E, i, k: _best(E @ E[i], i, k),
                  "these are by the distance of the vectors, in which their lengths count":
                      lambda E, i, k: _best(-np.linalg.norm(E - E[i], axis=1), i, k)},
        hints=("The cosine of two vectors is their product, divided by both lengths.",
               "Make all rows of length 1 first: E / np.linalg.norm(E, axis=1, keepdims=True).",
               "np.argsort(-cosines) sorts from the largest down. Row i comes first: its cosine with itself is 1.",
               "order = np.argsort(-(unit @ unit[i])); return order[order != i][:k].")))
