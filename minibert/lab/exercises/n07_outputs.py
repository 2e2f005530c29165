"""Exercises of notebook 7: output layers."""

from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.ops.loss import IGNORE_INDEX


def log_sum_exp(x: Array) -> Array:
    """The right answer to 7.3."""
    largest = x.max(axis=-1, keepdims=True)
    return np.asarray(largest[..., 0] + np.log(np.exp(x - largest).sum(axis=-1)))


def _far_off(rng: np.random.Generator) -> list[tuple[Array, ...]]:
    """Rows near 1000, near 0 and near -1000."""
    return [(rng.standard_normal(shape) + np.array([1000.0, 0.0, -1000.0])[:, None],) for shape in ((3, 5), (2, 3, 4))]


def _naive(x: Array, subtract: Any = 0.0, back: Any = 0.0) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.exp(x - subtract).sum(axis=-1)) + back)


def _labelled(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Logits and labels, some rows without a label; the last as a part of a batch of 9 labels."""
    some = np.array([[2, IGNORE_INDEX, 0], [IGNORE_INDEX, 4, 4]])
    return [(rng.standard_normal((3, 4)), np.array([1, 3, 1])), (rng.standard_normal((2, 3, 5)), some),
            (rng.standard_normal((4, 6)), np.array([5, IGNORE_INDEX, 0, 2]), 9)]


def _placed(chosen: Array, rows: Array, shape: tuple[int, ...]) -> Array:
    """Each labelled row at its place, and 0 elsewhere."""
    d = np.zeros(shape)
    d.reshape(-1, shape[-1])[rows] = chosen
    return d


def _onehot(p: Array, classes: Array) -> Array:
    return np.asarray(np.arange(p.shape[-1]) == classes[:, None], np.float64)


def _gradient(dloss: Array, p: Array, rows: Array, classes: Array, scale: Any, shape: tuple[int, ...]) -> Array:
    return _placed(dloss * scale * (p - _onehot(p, classes)), rows, shape)


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="7.1", title="Said minus true", right=[0.7, -0.8, 0.1],
        mistakes={"that is true minus said, the way to go; the gradient points the other way": [-0.7, 0.8, -0.1],
                  "that is p; subtract 1 at the right word": [0.7, 0.2, 0.1],
                  "the wrong words get a gradient, too: each had some of the probability": [0.0, -0.8, 0.0],
                  "that is the derivative by the probabilities; the softmax is still to come": [0.0, -5.0, 0.0],
                  "the first word is the likely one, but the second is right": [-0.3, 0.2, 0.1]},
        hints=("p - onehot: what is onehot for the second of three words?",
               "onehot is (0, 1, 0).",
               "The middle number is 0.2 - 1; the others are as the model said.")),
    Backward(
        number="7.2", title="Write this backward: cross-entropy", op="cross_entropy", cases=_labelled,
        terms={"dlogits": {
            "p": lambda dloss, p, rows, classes, scale, shape: _placed(dloss * scale * p, rows, shape),
            "-onehot(label)": lambda dloss, p, rows, classes, scale, shape: _placed(
                -dloss * scale * _onehot(p, classes), rows, shape)}},
        factors={"dlogits": {"dloss": lambda dloss, *saved: dloss,
                             "scale (one over the count)": lambda dloss, p, rows, classes, scale, shape: scale}},
        mistakes={
            "the wrong words get a gradient, too: each had some of the probability":
                lambda dloss, p, rows, classes, scale, shape: _placed(
                    dloss * scale * (p - 1) * _onehot(p, classes), rows, shape),
            "divide by the count, which scale holds, and not by the labels here: this may be a part of a batch":
                lambda dloss, p, rows, classes, scale, shape: _gradient(
                    dloss, p, rows, classes, 1 / len(rows), shape),
            "the labelled rows must go to their places, which `rows` tells; these are the first ones":
                lambda dloss, p, rows, classes, scale, shape: _gradient(
                    dloss, p, np.arange(len(rows)), classes, scale, shape)},
        hints=("For the labelled rows it is (p - onehot) * scale * dloss. Begin with a copy of p: p is read-only.",
               "onehot need not be built: d[np.arange(len(classes)), classes] -= 1 subtracts 1 at the right words.",
               "The others get 0: dlogits = np.zeros(logits_shape), and then put the labelled rows into it.",
               "dlogits.reshape(-1, logits_shape[-1])[rows] = d puts them there, also where there are more axes.")),
    Function(
        number="7.3", title="Log-sum-exp", right=log_sum_exp, cases=_far_off, outputs=("y",),
        mistakes={"exp overflows above 709 and is 0 below -745: take the largest number of each row off first": _naive,
                  "what was taken off before exp must be added after log":
                      lambda x: _naive(x, x.max(axis=-1, keepdims=True)),
                  "each row needs its own largest number: with that of the whole array, the others are 0":
                      lambda x: _naive(x, x.max(), x.max()),
                  "that is the largest number alone; the log of the sum is still to be added":
                      lambda x: x.max(axis=-1)},
        hints=("Take off the largest number of each row: x.max(axis=-1, keepdims=True).",
               "Then exp, sum over the last axis, log: none of them can fail now.",
               "And add the largest number again; without its last axis, as in largest[..., 0].")),
    Value(
        number="7.4", title="Rows of the word table that get a gradient", right=30522.0, tolerance=1e-9,
        mistakes={"those are the rows that the lookup reaches; the table is also the output layer": 20.0,
                  "the right words are pulled, and all others are pushed: p is 0 nowhere": 3.0,
                  "the decoder reaches more than the labels: p is 0 nowhere": 23.0,
                  "every row that is read is also scored, so none is counted twice": 30542.0},
        hints=("The table is used twice. Which rows does the lookup reach?",
               "The decoder's gradient of row v is the sum over positions of (p_v - [v is right]) h. For which v is "
               "p_v = 0?",
               "A softmax is 0 nowhere, so every row gets something. How many rows are there?")),
    Value(
        number="7.5", title="The scores of all positions, in gigabytes", right=256 * 512 * 30522 * 4 / 1e9,
        tolerance=1e-2,
        mistakes={"that is how many numbers there are, in billions; each takes 4 bytes": 256 * 512 * 30522 / 1e9,
                  "float32 takes 4 bytes a number, not 8": 256 * 512 * 30522 * 8 / 1e9,
                  "that is for one sentence": 512 * 30522 * 4 / 1e9,
                  "that is for the masked positions alone": 0.15 * 256 * 512 * 30522 * 4 / 1e9},
        hints=("How many positions are there, and how many scores has each?",
               "256 * 512 positions with 30,522 scores each, and 4 bytes for each score.",
               "256 * 512 * 30522 * 4 / 1e9.")),
    Value(
        number="7.6", title="The loss of a batch in two parts", right=3.4,
        mistakes={"that is the mean of the two means: a word in the small part would count four times as much": 4.0,
                  "that is the sum of the two means": 8.0,
                  "the weights are exchanged: 5.0 is the mean of the part with 2 labels": 4.6,
                  "that is the sum over all labels; divide by how many there are": 34.0},
        hints=("What is the sum of the losses in each part?",
               "2 * 5.0 and 8 * 3.0. How many labels are there in all?",
               "The two sums together, over 10.")))
