"""Exercises of notebook 2: word embeddings."""

from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value

SMOOTHING = 0.75


def one_hot_lookup(E: Array, ids: Array) -> tuple[Array, Array]:
    """The right answer to 2.1."""
    one_hot = np.eye(len(E))[ids]
    return one_hot, one_hot @ E


def _from_zero(rng: np.random.Generator, V: int, N: int) -> Array:
    """N ids below V, among them repeated ones and 0; the last row of the table is not used."""
    ids = rng.integers(0, V - 1, N)
    ids[[0, N // 2]] = 0
    return ids


def _tables(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.standard_normal((V, H)), _from_zero(rng, V, N)) for V, H, N in ((7, 3, 5), (4, 2, 9))]


def _batches(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    shapes: tuple[tuple[int, int, tuple[int, ...]], ...] = ((6, 3, (8,)), (9, 4, (2, 7)), (5, 2, (3, 2, 4)))
    return [(rng.standard_normal((V, H)), _from_zero(rng, V, int(np.prod(shape))).reshape(shape))
            for V, H, shape in shapes]


def _added(dy: Array, ids: Array, V: int) -> Array:
    """One row of dy after the other, added to the row of its id."""
    dtable = np.zeros((V, dy.shape[-1]))
    np.add.at(dtable, ids, dy)
    return dtable


def _last(dy: Array, ids: Array, shape: tuple[int, ...]) -> Array:
    dtable = np.zeros(shape)
    dtable[ids] = dy
    return dtable


def _first(dy: Array, ids: Array, shape: tuple[int, ...]) -> Array:
    return _last(dy.reshape(-1, shape[1])[::-1], ids.reshape(-1)[::-1], shape)


def _mean(dy: Array, ids: Array, shape: tuple[int, ...]) -> Array:
    counts = np.bincount(ids.reshape(-1), minlength=shape[0])
    return _added(dy, ids, shape[0]) / np.maximum(counts, 1)[:, None]


def tied_gradient(dx: Array, ids: Array, dz: Array, h: Array) -> Array:
    """The right answer to 2.5."""
    return _added(dx, ids, dz.shape[1]) + dz.T @ h


def _tied(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.standard_normal((N, H)), _from_zero(rng, V, N), rng.standard_normal((N, V)),
             rng.standard_normal((N, H))) for N, H, V in ((6, 3, 5), (9, 2, 7))]


def surprise(C: Array, clip: bool = True, smooth_b: float = SMOOTHING, smooth_a: float = 1.0) -> Array:
    """ln of how much more often than by chance; the right answer to 2.7."""
    total = C.sum(axis=1)
    chance = total**smooth_b / (total**smooth_b).sum()
    with np.errstate(divide="ignore"):
        P: Array = np.log(C / ((total**smooth_a)[:, None] * chance))
    return np.maximum(P, 0.0) if clip else P


def _counts(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Symmetric counts, some of them 0."""
    found = []
    for V in (4, 7):
        C = np.triu(rng.uniform(0.5, 9.0, (V, V)) * (rng.random((V, V)) < 0.7), 1)
        C[0, 1], C[0, 2] = 0.0, 5.5
        C[-2, -1] = 3.5
        found.append((C + C.T,))
    return found


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="2.1", title="A lookup as a matrix product", right=one_hot_lookup, cases=_tables,
        outputs=("one_hot", "x"),
        mistakes={
            "one_hot is transposed: a row for each place of the text, a column for each word of the table":
                lambda E, ids: (np.eye(len(E))[ids].T, E[ids]),
            "ids begin with 0, so the id 0 is column 0": lambda E, ids: (
                np.roll(np.eye(len(E)), 1, axis=0)[ids], np.roll(np.eye(len(E)), 1, axis=0)[ids] @ E)},
        hints=("Row n of one_hot is 0 but for a single 1. In which column?",
               "In the column ids[n]: begin with np.zeros((len(ids), len(E))).",
               "one_hot[np.arange(len(ids)), ids] = 1; then return one_hot, one_hot @ E.")),
    Value(
        number="2.2", title="A scatter-add by hand", right=[[0.0, 0.0], [2.0, 5.0], [3.0, -1.0], [0.0, 0.0]],
        mistakes={"word 1 comes twice, and only its last row of dx arrived: they are added":
                      [[0.0, 0.0], [-2.0, 4.0], [3.0, -1.0], [0.0, 0.0]],
                  "word 1 comes twice, and only its first row of dx arrived: they are added":
                      [[0.0, 0.0], [4.0, 1.0], [3.0, -1.0], [0.0, 0.0]],
                  "that is the mean of the two rows for word 1; a gradient is their sum":
                      [[0.0, 0.0], [1.0, 2.5], [3.0, -1.0], [0.0, 0.0]],
                  "the rows are counted from 1: row 0 belongs to word 0, which is not in the text":
                      [[2.0, 5.0], [3.0, -1.0], [0.0, 0.0], [0.0, 0.0]]},
        hints=("dE has a row for each of the four words. Which of them are in the text at all?",
               "Words 0 and 3 are not: their rows are 0. Word 2 is there once and gets the second row of dx.",
               "Word 1 is there twice: (4, 1) + (-2, 4).")),
    Backward(
        number="2.3", title="Write this backward: embedding", op="embedding", cases=_batches,
        terms={"dtable": {"of the first place of each word": _first,
                          "of its further places":
                              lambda dy, ids, shape: _added(dy, ids, shape[0]) - _first(dy, ids, shape)}},
        mistakes={
            "a word that comes twice keeps only the last of its rows: dtable[ids] = dy and dtable[ids] += dy write "
            "each row once": _last,
            "that is the mean over the places of a word; a gradient is their sum": _mean,
            "each row is divided by the number of all places: a gradient is a sum": lambda dy, ids, shape:
                _added(dy, ids, shape[0]) / ids.size},
        hints=("The gradient begins as np.zeros(table_shape). Each place of ids then adds its row of dy somewhere. "
               "Where?",
               "At row ids[place]. A loop over ids.reshape(-1) and dy.reshape(-1, H) does it.",
               "dtable[ids] += dy is no loop: it writes each row once. np.add.at(dtable, ids, dy) adds every time.")),
    Value(
        number="2.4", title="How many rows get a gradient", right=[900.0, 30522.0],
        mistakes={"the two are exchanged: the tied table is reached from the output as well": [30522.0, 900.0],
                  "tied, the output layer has a score for every word, so all rows have a gradient": [900.0, 900.0],
                  "untied, the lookup alone reaches the table, so the words of the batch": [30522.0, 30522.0],
                  "a word that comes many times has only one row": [4096.0, 30522.0],
                  "tied, the masked places ask about every word of the vocabulary": [900.0, 614.0]},
        hints=("Untied, the table is used by the lookup alone. Which rows does a scatter-add reach?",
               "Those of the different words in the batch, however often each comes.",
               "Tied, dE also gets dz^T h, and dz = p - one-hot is nowhere exactly 0: all V rows.")),
    Function(
        number="2.5", title="The gradient of a tied table", right=tied_gradient, cases=_tied, outputs=("dE",),
        terms={"dE": {"of the lookup (the scatter-add of dx)": lambda dx, ids, dz, h: _added(dx, ids, dz.shape[1]),
                      "of the output layer (dz^T h)": lambda dx, ids, dz, h: dz.T @ h}},
        mistakes={"the scatter-add keeps only the last place of a word: use np.add.at":
                      lambda dx, ids, dz, h: _last(dx, ids, (dz.shape[1], dx.shape[1])) + dz.T @ h,
                  "the lookup overwrites what came from the output layer; it must add to it": lambda dx, ids, dz, h:
                      np.where(np.isin(np.arange(dz.shape[1]), ids)[:, None], _last(
                          dx, ids, (dz.shape[1], dx.shape[1])), dz.T @ h)},
        hints=("E is used twice, so two gradients arrive, and they are added.",
               "From the output layer z = h E^T comes dz.T @ h, a full (V, H).",
               "dE = dz.T @ h is a new array: np.add.at(dE, ids, dx) adds the other part to it.")),
    Value(
        number="2.6", title="The second step of a word seen once", right=0.67006,
        mistakes={"that is the first step": 1.0,
                  "that is m alone, with its correction; it is still divided by the root of s": 0.473684,
                  "both are corrected: m by 1 - 0.9^2, and s by 1 - 0.999^2": 2.8474050,
                  "both are corrected, s as well: by 1 - 0.999^2": 14.986842,
                  "the root is missing: m is divided by s itself": 0.947842,
                  "that is how far it has moved after two steps; the second alone is asked for": 1.67006,
                  "without a gradient it moves all the same: m and s remember the first step": 0.0},
        hints=("After the first step m = 0.1 g and s = 0.001 g^2. In the second there is no gradient: what are they "
               "then?",
               "m = 0.9 * 0.1 g = 0.09 g and s = 0.999 * 0.001 g^2. The corrections of step 2 are 1 - 0.9^2 = 0.19 "
               "and 1 - 0.999^2 = 0.001999.",
               "(0.09 / 0.19) / np.sqrt(0.000999 / 0.001999).")),
    Function(
        number="2.7", title="More often than by chance", right=surprise, cases=_counts, outputs=("P",),
        mistakes={
            "negative numbers remain: P is the larger of 0 and the logarithm": lambda C: surprise(C, clip=False),
            "the chance q is not smoothed: raise C_b to the power of 0.75 first": lambda C: surprise(C, smooth_b=1.0),
            "C_a is smoothed, too: the power belongs to q alone": lambda C: surprise(C, smooth_a=SMOOTHING),
            "rows and columns are exchanged: C_a belongs to the row, q to the column": lambda C: surprise(C).T,
            "that is the logarithm to the base 2": lambda C: surprise(C) / np.log(2.0),
            "C_a is missing: divide by how often word a stands near any word": lambda C: surprise(C, smooth_a=0.0),
            "each C_b is raised to the power first, and then they are summed": lambda C: np.maximum(0.0, surprise(
                C, clip=False) + np.log(C.sum() ** SMOOTHING / (C.sum(axis=1) ** SMOOTHING).sum())),
            "the chances q must sum to 1: divide the powers by their sum": lambda C: np.maximum(
                0.0, surprise(C, clip=False) - np.log((C.sum(axis=1) ** SMOOTHING).sum()))},
        hints=("C_a is C.sum(axis=1). The chance q needs these totals to the power of 0.75, divided by their sum.",
               "The quotient is C / (C_a[:, None] * q): C_a down the rows, q along the columns.",
               "np.log of 0 is -inf, which the maximum with 0 removes: np.maximum(0, np.log(...)), inside "
               "np.errstate(divide=\"ignore\").")))
