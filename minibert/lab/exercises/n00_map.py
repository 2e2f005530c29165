"""Exercises of notebook 0: the map."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value

Map: TypeAlias = Callable[[Array], Array]
GUESS = float(np.log(30522) + np.log(2))
FIRST = (slice(None), 0)  # how the pooler picks [CLS] from (B, T, H)


def _picks(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """What the pooler reads; what the masked-LM head reads; a place that is read twice."""
    return [(rng.standard_normal((2, 4, 3)), FIRST),
            (rng.standard_normal((3, 5, 2)), (np.array([0, 1, 2, 2]), np.array([4, 1, 0, 3]))),
            (rng.standard_normal((6, 3)), np.array([2, 5, 2, 2, 0]))]


def _written_once(dy: Array, x_shape: tuple[int, ...], index: Any) -> Array:
    dx = np.zeros(x_shape)
    dx[index] = dy
    return dx


def _added(dy: Array, x_shape: tuple[int, ...], index: Any) -> Array:
    dx = np.zeros(x_shape)
    np.add.at(dx, index, dy)
    return dx


def _first_reading(dy: Array, x_shape: tuple[int, ...], index: Any) -> Array:
    """Each number of dx from the first number of dy that was read there."""
    places = np.arange(np.prod(x_shape)).reshape(x_shape)[index].reshape(-1)
    dx = np.zeros(x_shape)
    dx.reshape(-1)[places[::-1]] = dy.reshape(-1)[::-1]
    return dx


def _everywhere(dy: Array, x_shape: tuple[int, ...], index: Any) -> Array:
    """Ones in the place of zeros: what was not read keeps a gradient."""
    dx = np.ones(x_shape)
    dx[index] = 0.0
    return dx + _added(dy, x_shape, index)


def _last_token(dy: Array, x_shape: tuple[int, ...], index: Any) -> Array:
    """The pooler that reads the last token; right for other picks."""
    last: Any = (slice(None), -1) if isinstance(index, tuple) and isinstance(index[1], int) else index
    return _added(dy, x_shape, last)


def post_norm(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    """The right answer to 0.4."""
    a = norm(x + attention(x))
    return norm(a + feed_forward(a))


def _blocks(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    found = []
    for T, H in ((4, 3), (3, 6)):
        mix, w = rng.standard_normal((T, T)), rng.standard_normal((H, H))

        def attention(x: Array, mix: Array = mix) -> Array:
            return mix @ x

        def feed_forward(x: Array, w: Array = w) -> Array:
            return np.tanh(x @ w)

        def norm(x: Array) -> Array:
            centred = x - x.mean(axis=-1, keepdims=True)
            return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-12)
        found.append((rng.standard_normal((T, H)), attention, feed_forward, norm))
    return found


def _second_missing(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    return norm(feed_forward(norm(x + attention(x))))


def _first_missing(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    a = norm(attention(x))
    return norm(a + feed_forward(a))


def _none(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    return norm(feed_forward(norm(attention(x))))


def _one_for_both(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    return norm(x + feed_forward(attention(x)))


def _from_x(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    return norm(x + feed_forward(norm(x + attention(x))))


def _pre_norm(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    a = x + attention(norm(x))
    return a + feed_forward(norm(a))


def _norm_inside(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    a = x + norm(attention(x))
    return a + norm(feed_forward(a))


def _last_norm_missing(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    a = norm(x + attention(x))
    return a + feed_forward(a)


def _no_norm(x: Array, attention: Map, feed_forward: Map, norm: Map) -> Array:
    a = x + attention(x)
    return a + feed_forward(a)


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="0.1", title="What a guess costs BERT-base", right=GUESS,
        mistakes={"that is for the masked words alone; the next sentence is guessed, too": float(np.log(30522)),
                  "that is in bits; a nat is the natural logarithm": GUESS / float(np.log(2.0)),
                  "the two losses are added; you took their difference": float(np.log(30522) - np.log(2)),
                  "the two losses are added, not averaged": GUESS / 2},
        hints=("Who gives each of n answers the same probability pays -ln(1/n) = ln n.",
               "For a masked word n is 30,522, for the next sentence 2, and the loss is the sum.",
               "np.log(30522) + np.log(2).")),
    Value(
        number="0.2", title="Three projections, counted", right=1771776.0, tolerance=1e-9,
        mistakes={"each projection also has a bias of 768 numbers": 1769472.0,
                  "that is one projection, or three of a third each: there are three, from the whole vector to a whole "
                  "one": 590592.0,
                  "that is one projection, without its bias": 589824.0,
                  "each projection reads the whole vector, not a third of it": 197376.0,
                  "the projection of the heads' output is the attention's fourth, and not asked for here": 2362368.0,
                  "every head has a slice of the projections, so the number of heads does not matter": 21261312.0},
        hints=("A projection is a linear map of 768 numbers to 768, with a bias.",
               "So it has 768 * 768 weights and 768 numbers of bias. The heads share them: each gets a slice.",
               "3 * (768 * 768 + 768).")),
    Backward(
        number="0.3", title="Write this backward: picking", op="getitem", cases=_picks,
        terms={"dx": {"of what was read for the first time": _first_reading,
                      "of what was read again":
                          lambda dy, x_shape, index: _added(dy, x_shape, index) - _first_reading(dy, x_shape, index)}},
        mistakes={"a place that was read twice keeps only its last gradient: they must be added": _written_once,
                  "what was not read gets 0: begin with np.zeros": _everywhere,
                  "[CLS] is the first token; yours is the gradient of reading the last": _last_token},
        hints=("Whatever was not read does not matter to the loss. Which gradient does it have?",
               "Begin with dx = np.zeros(x_shape), and bring dy to where it was read: dx[index].",
               "The same place may be read more than once. dx[index] += dy writes it once; np.add.at(dx, index, dy) "
               "adds every time.")),
    Function(
        number="0.4", title="A block with both residuals", right=post_norm, cases=_blocks, outputs=("y",),
        mistakes={"the second residual is missing: a must be added to what the feed-forward part makes of it":
                      _second_missing,
                  "the first residual is missing: x must be added to what attention makes of it": _first_missing,
                  "there is no residual at all: each part's input is added to its output": _none,
                  "the second residual begins at a, after the first normalisation, not at x": _from_x,
                  "one residual and one norm go round both parts: each part has its own": _one_for_both,
                  "that is pre-norm; BERT normalises after each sum": _pre_norm,
                  "the norm is of the sum, not of what is added": _norm_inside,
                  "the second normalisation is missing": _last_norm_missing,
                  "both normalisations are missing: they come after each sum": _no_norm},
        hints=("Twice the same: a part, its input added to it, and the norm of the sum.",
               "a = norm(x + attention(x)) is the first half. The second half does with a what this did with x.",
               "return norm(a + feed_forward(a)).")),
    Value(
        number="0.5", title="Which label", right=[0.0, 1.0, 1.0, 0.0],
        mistakes={"the labels are turned round: 0 says that B follows A": [1.0, 0.0, 0.0, 1.0],
                  "the third pair: the two are neighbours in the file, but a blank line between them ends the "
                  "document": [0.0, 1.0, 0.0, 0.0],
                  "the second pair: both tell of rain, but that is not the question": [0.0, 0.0, 1.0, 0.0],
                  "the fourth pair: it does follow, however surprising it is": [0.0, 1.0, 1.0, 1.0]},
        hints=("Do not ask what the sentences mean. Is B the sentence that comes after A in its document?",
               "Label 0 says yes, label 1 says that B is from another document. A blank line ends a document.",
               "The first and the fourth pair stand one after the other in their documents; the others do not.")),
    Value(
        number="0.6", title="The shape of what comes out", right=[16.0, 40.0, 768.0], tolerance=1e-9,
        mistakes={"that is the pooler's output, from [CLS] alone; the encoder gives a vector for each token":
                      [16.0, 768.0],
                  "the layers change nothing about the shape: it is that of what goes in": [12.0, 16.0, 40.0, 768.0],
                  "the maximum of positions is not what this text has": [16.0, 512.0, 768.0],
                  "scores for every word are the output layer's, not the encoder's": [16.0, 40.0, 30522.0]},
        hints=("One vector for each token of each sentence. How many sentences, how many tokens?",
               "The batch, the length of the text, the width of the model.",
               "[16, 40, 768].")))
