"""Exercises of notebook 4: attention."""

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value


def probabilities(q: Array, k: Array, mask: Array) -> Array:
    """The right answer to 4.2."""
    return _softmax(np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf))


def _softmax(scores: Array, axis: int = -1) -> Array:
    powers = np.exp(scores - np.maximum(scores.max(axis=axis, keepdims=True), -1e300))
    total = powers.sum(axis=axis, keepdims=True)
    return np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)


def _masked(rng: np.random.Generator) -> list[tuple[Array, ...]]:
    """Queries, keys and masks; one query may look nowhere."""
    found = []
    for T, S, D in ((3, 5, 4), (2, 7, 3)):
        mask = rng.random((T, S)) < 0.6
        mask[:, 0], mask[:, 1] = True, False
        found.append((rng.standard_normal((T, D)), rng.standard_normal((S, D)), mask))
    found[0][2][1] = False
    return found


def _scores(q: Array, k: Array) -> Array:
    return q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])


def _dprobs(dcontext: Array, v: Array) -> Array:
    return dcontext @ v.swapaxes(-1, -2)


def _row_sums(dcontext: Array, v: Array, probs: Array) -> Array:
    return (_dprobs(dcontext, v) * probs).sum(axis=-1, keepdims=True)


def _dscores(dcontext: Array, v: Array, probs: Array) -> Array:
    return probs * (_dprobs(dcontext, v) - _row_sums(dcontext, v, probs))


def _exchanged(dc: Array, q: Array, k: Array, v: Array, p: Array) -> tuple[Array, ...]:
    """4.5 with the queries in the place of the keys, where the shapes let one get away with it."""
    ds, dv = _dscores(dc, v, p) / np.sqrt(q.shape[-1]), p.swapaxes(-1, -2) @ dc
    return ds.swapaxes(-1, -2) @ q, ds @ k, dv


def _root(dc: Array, q: Array, *rest: Array) -> float:
    return float(q.shape[-1] ** -0.5)


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="4.1", title="The variance of a score", right=64.0,
        mistakes={"that is the standard deviation; the variance is its square": 8.0,
                  "that is the variance of one product; a score is a sum of 64 of them": 1.0,
                  "variances of independent terms add up; they are not squared once more": 4096.0},
        hints=("A score is a sum of D products, and independent terms have variances that add up.",
               "The product of two independent numbers with mean 0 and variance 1 has variance 1 * 1.",
               "So the variance is D: for D = 64, as many as there are terms.")),
    Function(
        number="4.2", title="Attention probabilities with a mask", right=probabilities, cases=_masked,
        outputs=("probs",),
        mistakes={
            "the scores are not divided by sqrt(D)":
                lambda q, k, m: _softmax(np.where(m, q @ k.T, -np.inf)),
            "the scores are divided by D, not by its root":
                lambda q, k, m: _softmax(np.where(m, q @ k.T / q.shape[-1], -np.inf)),
            "the mask is turned round: True says where a query may look":
                lambda q, k, m: _softmax(np.where(m, -np.inf, _scores(q, k))),
            "the mask came after the softmax, so the rows no longer sum to 1: mask the scores":
                lambda q, k, m: _softmax(_scores(q, k)) * m,
            "a masked score of 0 is a score like any other: it must be -inf, whose power is 0":
                lambda q, k, m: _softmax(np.where(m, _scores(q, k), 0.0)),
            "a query that may look nowhere got equal shares: with -inf its powers are all 0, and so must its row be":
                lambda q, k, m: _softmax(np.where(m, _scores(q, k), -1e9)),
            "the mask is not used": lambda q, k, m: _softmax(_scores(q, k)),
            "the softmax runs over the queries; each query's row must sum to 1":
                lambda q, k, m: _softmax(np.where(m, _scores(q, k), -np.inf), axis=0)},
        hints=("Three steps: scores, mask, softmax over the keys (the last axis).",
               "np.where(mask, scores, -np.inf) masks; exp(-inf) is 0.",
               "A query that may look nowhere has powers that are all 0: its row must be 0, not 0 / 0.",
               "powers = np.exp(scores - largest), where largest is 0 instead of -inf for an empty row; then "
               "powers / (total + (total == 0)).")),
    Backward(
        number="4.3", title="Write this backward: softmax", op="softmax",
        cases=lambda rng: [(rng.standard_normal(shape),) for shape in ((3, 5), (2, 4, 7), (1, 3))],
        terms={"dx": {"p dp": lambda dp, p: p * dp,
                      "-p sum(dp p)": lambda dp, p: -p * (dp * p).sum(axis=-1, keepdims=True)}},
        mistakes={"the sum runs over the whole array; each row has its own":
                      lambda dp, p: p * (dp - (dp * p).sum()),
                  "the sum runs over the wrong axis: a row is a distribution, so sum over the last axis":
                      lambda dp, p: p * (dp - (dp * p).sum(axis=0, keepdims=True)),
                  "the sum is of dp alone, and must be weighted with p":
                      lambda dp, p: p * (dp - dp.sum(axis=-1, keepdims=True)),
                  "the whole must be multiplied with p": lambda dp, p: dp - (dp * p).sum(axis=-1, keepdims=True),
                  "p (1 - p) dp is the diagonal of the Jacobian alone: every input moves every output":
                      lambda dp, p: p * (1 - p) * dp},
        hints=("dx is the Jacobian times dp, and the Jacobian is diag(p) - p p^T.",
               "diag(p) dp is p * dp. And p p^T dp is p times a single number for each row.",
               "That number is sum(dp * p) over the last axis, with keepdims=True.",
               "return p * (dp - (dp * p).sum(axis=..., keepdims=True)), with the right axis.")),
    Value(
        number="4.4", title="A softmax Jacobian by hand",
        right=[[0.25, -0.125, -0.125], [-0.125, 0.1875, -0.0625], [-0.125, -0.0625, 0.1875]],
        mistakes={"the diagonal is right, and what is beside it is not 0: every input moves every output":
                      [[0.25, 0.0, 0.0], [0.0, 0.1875, 0.0], [0.0, 0.0, 0.1875]],
                  "that is diag(p): subtract p p^T": [[0.5, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.25]],
                  "the signs are turned: a larger x_i makes p_i larger and the others smaller":
                      [[-0.25, 0.125, 0.125], [0.125, -0.1875, 0.0625], [0.125, 0.0625, -0.1875]]},
        hints=("On the diagonal stands p_i (1 - p_i), beside it -p_i p_j.",
               "The first row: 0.5 * 0.5, -0.5 * 0.25, -0.5 * 0.25. Each row sums to 0.",
               "np.diag(p) - np.outer(p, p) computes it; write the numbers or that.")),
    Backward(
        number="4.5", title="Write this backward: attention, the whole", op="attention",
        given=("q", "k", "v", "probs"),
        cases=lambda rng: [tuple(rng.standard_normal((B, A, n, D)) for n in (T, S, S))
                           for B, A, T, S, D in ((1, 2, 3, 5, 4), (2, 1, 4, 2, 3))],
        terms={"dq": {"(P dP) k / sqrt(D)": lambda dc, q, k, v, p: p * _dprobs(dc, v) @ k * _root(dc, q),
                      "-(P sum(dP P)) k / sqrt(D)":
                          lambda dc, q, k, v, p: -p * _row_sums(dc, v, p) @ k * _root(dc, q)},
               "dk": {"(P dP)^T q / sqrt(D)":
                          lambda dc, q, k, v, p: (p * _dprobs(dc, v)).swapaxes(-1, -2) @ q * _root(dc, q),
                      "-(P sum(dP P))^T q / sqrt(D)":
                          lambda dc, q, k, v, p: -(p * _row_sums(dc, v, p)).swapaxes(-1, -2) @ q * _root(dc, q)},
               "dv": {"P^T dC": lambda dc, q, k, v, p: p.swapaxes(-1, -2) @ dc}},
        factors={"dq": {"1 / sqrt(D)": _root}, "dk": {"1 / sqrt(D)": _root}},
        mistakes={"dq and dk are exchanged: they come back in the order of the inputs, q, k, v": _exchanged},
        hints=("Backward, so from the last step to the first: (3'), (2'), (1').",
               "(3') is a matrix product: dprobs = dcontext v^T and dv = probs^T dcontext.",
               "(2') is exercise 4.3: dscores = probs (dprobs - sum(dprobs probs)).",
               "(1') is a matrix product again, with the same factor as forward: dq = dscores k / sqrt(D) and "
               "dk = dscores^T q / sqrt(D). Transpose the last two axes with swapaxes(-1, -2).")),
    Value(
        number="4.6", title="A constant added to every key", right=0.0,
        mistakes={"a shift of a whole row of scores cancels in the softmax, so nothing can depend on it": 1.0},
        hints=("Add c to every key: by how much does each score of one query change?",
               "All scores of a query change by the same q . c / sqrt(D). What does softmax make of that?",
               "Softmax does not see a constant that is added to a whole row, so the loss does not move.")))
