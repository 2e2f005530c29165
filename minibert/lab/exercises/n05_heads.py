"""Exercises of notebook 5: many heads."""

from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value

MATRIX = 768 * 768  # numbers of one projection of BERT-base
ROWS = 64 * 768  # of these, those of one head


def split(x: Array, heads: int) -> Array:
    """The right answer to 5.2, and to 5.3."""
    B, T, H = x.shape
    return x.reshape(B, T, heads, H // heads).swapaxes(1, 2)


def merge(x: Array) -> Array:
    """Heads side by side again."""
    B, A, T, D = x.shape
    return x.swapaxes(1, 2).reshape(B, T, A * D)


def _not_exchanged(x: Array, heads: int) -> Array:
    B, T, H = x.shape
    return x.reshape(B, T, heads, H // heads)


def _reshaped(x: Array, heads: int) -> Array:
    B, T, H = x.shape
    return x.reshape(B, heads, T, H // heads)


def _interleaved(x: Array, heads: int) -> Array:
    B, T, H = x.shape
    return x.reshape(B, T, H // heads, heads).transpose(0, 3, 1, 2)


def _merge_reshaped(x: Array) -> Array:
    B, A, T, D = x.shape
    return x.reshape(B, T, A * D)


def input_gradient(dq: Array, dk: Array, dv: Array, Wq: Array, Wk: Array, Wv: Array) -> Array:
    """The right answer to 5.4."""
    return merge(dq) @ Wq + merge(dk) @ Wk + merge(dv) @ Wv


def _three_ways(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """dq, dk, dv and the matrices; heads and positions differ in number."""
    return [(*rng.standard_normal((3, B, A, T, D)), *rng.standard_normal((3, A * D, A * D)))
            for B, A, T, D in ((2, 3, 5, 2), (1, 2, 4, 3))]


def gate_gradient(dcontext: Array, context: Array) -> Array:
    """The right answer to 5.6."""
    product: Array = (dcontext * context).sum(axis=(0, 2, 3))
    return product


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="5.1", title="What the heads cost", right=float(4 * MATRIX), tolerance=1e-9,
        mistakes={"a head's matrices map 768 numbers to 64, and twelve of them are one 768 x 768 matrix":
                      float(12 * 4 * MATRIX),
                  "W^O is one of the four": float(3 * MATRIX),
                  "that is one of the four matrices": float(MATRIX),
                  "a head reads all 768 numbers of a position, not its own 64": float(4 * 12 * 64 * 64)},
        hints=("What shape has the matrix W_i^Q of one head, and what shape have twelve of them side by side?",
               "768 x 64 each, so 768 x 768 together, whatever the number of heads.",
               "There are four such matrices: 4 * 768 * 768.")),
    Function(
        number="5.2", title="Split heads", right=split, outputs=("y",),
        cases=lambda rng: [(rng.standard_normal((2, 5, 6)), 3), (rng.standard_normal((1, 4, 6)), 2)],
        mistakes={"the axes of positions and heads must still be exchanged: (B, T, A, D) -> (B, A, T, D)":
                      _not_exchanged,
                  "a reshape to (B, A, T, D) gives the first head the first positions: cut the last axis, and "
                  "then exchange two axes": _reshaped,
                  "the numbers of a head lie side by side: the last axis is (A, D), not (D, A)": _interleaved},
        hints=("Two steps: cut the last axis into heads, and then move the axis of heads.",
               "x.reshape(B, T, heads, H // heads) cuts it: number a D + d of a position is number d of head a.",
               "Then exchange axes 1 and 2: .swapaxes(1, 2).")),
    Backward(
        number="5.3", title="Write this backward: merging heads", op="merge_heads",
        cases=lambda rng: [(rng.standard_normal(shape),) for shape in ((2, 3, 5, 2), (1, 2, 4, 3))],
        mistakes={"the axes of positions and heads must still be exchanged: (B, T, A, D) -> (B, A, T, D)":
                      _not_exchanged,
                  "a reshape to (B, A, T, D) gives the first head the gradients of the first positions: cut the "
                  "last axis, and then exchange two axes": _reshaped,
                  "the numbers of a head lie side by side: the last axis is (A, D), not (D, A)": _interleaved},
        hints=("Merging moves numbers and changes none. What undoes the move?",
               "The inverse of merging is splitting, and the gradient makes the inverse move.",
               "dy is (B, T, H): reshape it to (B, T, heads, H // heads), and exchange axes 1 and 2.")),
    Function(
        number="5.4", title="The three ways of x", right=input_gradient, outputs=("dx",), cases=_three_ways,
        terms={"dx": {"dq Wq": lambda dq, dk, dv, Wq, Wk, Wv: merge(dq) @ Wq,
                      "dk Wk": lambda dq, dk, dv, Wq, Wk, Wv: merge(dk) @ Wk,
                      "dv Wv": lambda dq, dk, dv, Wq, Wk, Wv: merge(dv) @ Wv}},
        mistakes={"the matrices are turned: forward was x W^T, so back it is dq W": lambda *given: sum(
                      merge(d) @ W.T for d, W in zip(given[:3], given[3:], strict=True)),
                  "the heads were merged by a reshape alone: exchange the axes of heads and positions first":
                      lambda *given: sum(_merge_reshaped(d) @ W for d, W in zip(given[:3], given[3:], strict=True)),
                  "each gradient must go through the matrix of its own way": lambda dq, dk, dv, Wq, Wk, Wv: (
                      merge(dq) + merge(dk) + merge(dv)) @ Wq},
        hints=("First merge the heads of dq, dk and dv: (B, A, T, D) -> (B, T, H).",
               "Merging is d.swapaxes(1, 2).reshape(B, T, H). Then each goes back through its own matrix.",
               "Forward q = x W^T, so backward it is dq W. x was used three times, so three gradients are added.",
               "return merge(dq) @ Wq + merge(dk) @ Wk + merge(dv) @ Wv.")),
    Value(
        number="5.5", title="The best that one mean can do", right=0.55,
        mistakes={"that holds where the two words differ; where they are the same, one cannot be wrong": 0.5,
                  "that is without looking; the mean tells which two words there are": 0.1,
                  "where the two words are the same, the answer is right for sure, not half the time": 0.5 * 0.9,
                  "chance and a coin are not added: one in ten pairs is of equal words, and nine in ten are not": 0.6},
        hints=("The mean shows which two words there are, but not in which order.",
               "If they differ, it is a coin: 1/2. If they are the same word, the answer is certain.",
               "They are the same in 1 of 10 cases: 0.1 * 1 + 0.9 * 0.5.")),
    Function(
        number="5.6", title="Write this backward: the gates", right=gate_gradient, outputs=("dg",),
        cases=lambda rng: [tuple(rng.standard_normal((2, *shape))) for shape in ((2, 3, 5, 4), (3, 2, 4, 1))],
        mistakes={"the gradient of a factor is dy times the other factor: multiply with the head's context":
                      lambda dc, c: dc.sum(axis=(0, 2, 3)),
                  "a gate multiplies every number of its head, and what forks is summed: this is a mean":
                      lambda dc, c: (dc * c).mean(axis=(0, 2, 3)),
                  "the examples are added up; if a loss is a mean over them, dcontext is divided already":
                      lambda dc, c: (dc * c).sum(axis=(0, 2, 3)) / len(c),
                  "a gate serves all examples of the batch: sum over them, too":
                      lambda dc, c: (dc * c).sum(axis=(2, 3)),
                  "a derivative has a sign; sizes are taken afterwards, to rank heads":
                      lambda dc, c: np.abs((dc * c).sum(axis=(0, 2, 3))),
                  "the positions and numbers of a head are summed before they are multiplied; first multiply":
                      lambda dc, c: dc.sum(axis=(0, 2, 3)) * c.sum(axis=(0, 2, 3))},
        hints=("The gate is one number, stretched over a whole head. What is stretched is summed.",
               "Each number of the output is g times a number of context, so its gradient by g is that number.",
               "Multiply dcontext with context, and sum over every axis but that of the heads: (0, 2, 3).")),
    Value(
        number="5.7", title="What a pruned head saves", right=float(4 * ROWS + 3 * 64), tolerance=1e-6,
        mistakes={"the biases of query, key and value have 64 numbers each for this head": float(4 * ROWS),
                  "its slice of W^O goes as well": float(3 * ROWS + 3 * 64),
                  "its slice of W^O goes as well, and so do its three biases": float(3 * ROWS),
                  "the bias of W^O belongs to the output, and stays": float(4 * ROWS + 4 * 64),
                  "that is one matrix; the head has a slice in each of the four": float(ROWS)},
        hints=("In W^Q, W^K and W^V the head owns 64 rows of 768 numbers. What does it own in W^O?",
               "In W^O, too, 64 x 768 numbers: those that its results meet.",
               "4 * 64 * 768, and three biases of 64.")))
