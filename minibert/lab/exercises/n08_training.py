"""Exercises of notebook 8: training."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import functional as F
from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.lab.toys import Toy
from minibert.nn.module import Parameter
from minibert.ops.dropout import DropoutKey
from minibert.tensor import Tensor


def with_dropout() -> Toy:
    """Twenty words learn by heart which word they answer with, through a layer that drops half of its numbers."""
    rng = np.random.default_rng(8)
    words, out = (Parameter(0.4 * rng.standard_normal((20, 24))) for _ in range(2))
    answers, steps = rng.permutation(20), iter(range(1_000_000))

    def loss() -> Tensor:
        x = F.dropout(F.embedding(words, np.arange(20)), 0.5, DropoutKey(seed=8, step=next(steps), site=0))
        return F.cross_entropy(F.linear(x, out), answers)
    return Toy("twenty words with dropout", (words, out), loss)


def adamw(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float,
          decay: float) -> tuple[Array, Array, Array]:
    """The right answer to 8.4."""
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    step = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return m, v, w - lr * decay * w - lr * step


def _updates(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Weights, gradients and the moments before the t-th step."""
    return [(*(rng.standard_normal(shape) for _ in range(3)), rng.random(shape), t, lr, 0.9, 0.99, 0.01, decay)
            for shape, t, lr, decay in (((2, 3), 2, 0.1, 0.02), ((5,), 4, 0.03, 0.3), ((3, 2, 2), 9, 0.2, 0.1))]


def _with(change: Callable[..., Array]) -> Callable[..., tuple[Array, ...]]:
    """8.4 with another last line; change(w, m, v, t, lr, b1, b2, eps, decay), where m and v are the new ones."""
    def answer(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float,
               decay: float) -> tuple[Array, ...]:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        return m, v, change(w, m, v, t, lr, b1, b2, eps, decay)
    return answer


def _hat(m: Array, v: Array, t: int, b1: float, b2: float) -> tuple[Array, Array]:
    return m / (1 - b1**t), v / (1 - b2**t)


def _ratio(m: Array, v: Array, t: int, b1: float, b2: float, eps: float) -> Array:
    m, v = _hat(m, v, t, b1, b2)
    return m / (np.sqrt(v) + eps)


def _inside_root(w: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float,
                 decay: float) -> Array:
    m, v = _hat(m, v, t, b1, b2)
    return w - lr * decay * w - lr * m / np.sqrt(v + eps)


def _no_root(w: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float, decay: float) -> Array:
    m, v = _hat(m, v, t, b1, b2)
    return w - lr * decay * w - lr * m / (v + eps)


def _l2(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float,
        decay: float) -> tuple[Array, ...]:
    return adamw(w, g + decay * w, m, v, t, lr, b1, b2, eps, 0.0)


def _corrected(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float,
               decay: float) -> tuple[Array, ...]:
    """Hands back the moments that (4) divides, instead of those to go on with."""
    m, v, w = adamw(w, g, m, v, t, lr, b1, b2, eps, decay)
    return *_hat(m, v, t, b1, b2), w


def _w_first(*args: Any) -> tuple[Array, ...]:
    m, v, w = adamw(*args)
    return w, m, v


def schedule(steps: Array, peak: float, warmup: int, total: int) -> Array:
    """The right answer to 8.5."""
    return peak * np.minimum(steps / warmup, (total + 1 - steps) / (total + 1 - warmup))


def _schedules(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(rng.permutation(np.arange(1.0, total + 1)), peak, warmup, total)
            for peak, warmup, total in ((0.01, 10, 40), (0.3, 3, 17), (2.0, 1, 9))]


ADAMW_TERMS = {
    "m": {"b1 m": lambda w, g, m, v, t, lr, b1, b2, eps, decay: b1 * m,
          "(1 - b1) g": lambda w, g, m, v, t, lr, b1, b2, eps, decay: (1 - b1) * g},
    "v": {"b2 v": lambda w, g, m, v, t, lr, b1, b2, eps, decay: b2 * v,
          "(1 - b2) g^2": lambda w, g, m, v, t, lr, b1, b2, eps, decay: (1 - b2) * g**2},
    "w": {"w": lambda w, g, m, v, t, lr, b1, b2, eps, decay: w,
          "-lr decay w": lambda w, g, m, v, t, lr, b1, b2, eps, decay: -lr * decay * w,
          "-lr m_hat / (sqrt(v_hat) + eps)": lambda w, g, m, v, t, lr, b1, b2, eps, decay: -lr * _ratio(
              b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2, t, b1, b2, eps)}}

EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="8.1", title="The first loss", right=math.log(30522) + math.log(2), tolerance=5e-3,
        mistakes={"that is the masked words alone: the next-sentence loss comes on top": math.log(30522),
                  "that is in bits; losses are in nats, so take the natural logarithm": math.log2(30522) + 1,
                  "the two losses are added, so it is one logarithm plus the other": math.log(30522) * math.log(2),
                  "a loss of 0 is that of a model that is always right, and sure of it": 0.0},
        hints=("A new model has seen nothing: say that each answer gets the same probability.",
               "A masked word then has probability 1 / 30522, and each of the two answers about a pair 1 / 2.",
               "The loss is ln 30522 for the masked words plus ln 2 for the pairs: np.log computes it.")),
    Value(
        number="8.2", title="A unigram floor", right=1.5 * math.log(2),
        mistakes={"that is in bits; in nats, use the natural logarithm": 1.5,
                  "that is ln 3, the loss of one who does not know the frequencies": math.log(3),
                  "that is the surprise at the most frequent word; take the mean over all three": math.log(2),
                  "that is the mean of the three surprises; each counts as often as its word comes":
                      5 / 3 * math.log(2)},
        hints=("The entropy: the mean of -ln f, in which each word counts as often as it comes.",
               "The surprises are ln 2, ln 4 and ln 4, their weights 1/2, 1/4 and 1/4.",
               "0.5 ln 2 + 0.25 ln 4 + 0.25 ln 4, and ln 4 is 2 ln 2.")),
    Value(
        number="8.3", title="The first step without bias correction", right=0.1 / math.sqrt(0.001),
        mistakes={"that is the step with bias correction": 1.0,
                  "the root in the denominator is missing": 100.0,
                  "the size of the gradient cancels: it is in m and in the root of v": 5 * 0.1 / math.sqrt(0.001),
                  "that is m over g; it is divided by the root of v": 0.1,
                  "that is the longest step, which comes later": 6.57},
        hints=("m and v start at 0. What are they after one step?",
               "m = 0.1 * 5 and v = 0.001 * 25.",
               "m / sqrt(v), without any correction: 0.5 / sqrt(0.025).")),
    Function(
        number="8.4", title="One step of AdamW", right=adamw, cases=_updates, outputs=("m", "v", "w"),
        terms=ADAMW_TERMS,
        mistakes={"the bias correction is missing: divide m by 1 - b1^t and v by 1 - b2^t": _with(
                      lambda w, m, v, t, lr, b1, b2, eps, decay: w - lr * decay * w - lr * m / (np.sqrt(v) + eps)),
                  "the power t is missing in the bias correction: b1^t and b2^t": _with(
                      lambda w, m, v, t, lr, b1, b2, eps, decay: w - lr * decay * w
                      - lr * _ratio(m, v, 1, b1, b2, eps)),
                  "v is corrected after the root was taken; it is corrected under the root": _with(
                      lambda w, m, v, t, lr, b1, b2, eps, decay: w - lr * decay * w
                      - lr * m / (1 - b1**t) / (np.sqrt(v) / (1 - b2**t) + eps)),
                  "m and v come back corrected; the next step must go on with those that are not": _corrected,
                  "they come back in the order m, v, w": _w_first,
                  "eps stands inside the root; it is added after it": _with(_inside_root),
                  "the root of v is missing": _with(_no_root),
                  "the decay lacks the factor lr": _with(
                      lambda w, m, v, t, lr, b1, b2, eps, decay: w - decay * w - lr * _ratio(m, v, t, b1, b2, eps)),
                  "the weight decays after its step; (3) comes before (4)": _with(
                      lambda w, m, v, t, lr, b1, b2, eps, decay:
                          (w - lr * _ratio(m, v, t, b1, b2, eps)) * (1 - lr * decay)),
                  "that is L2 inside Adam: the decay must not go through m and v": _l2,
                  "the gradient itself moves the weight; m does":
                      lambda w, g, m, v, t, lr, b1, b2, eps, decay: (
                          *adamw(w, g, m, v, t, lr, b1, b2, eps, decay)[:2], w - lr * decay * w - lr * g
                          / (np.sqrt(adamw(w, g, m, v, t, lr, b1, b2, eps, decay)[1] / (1 - b2**t)) + eps))},
        hints=("Four lines, in the order of the formulas: m, v, the decay of w, the step of w.",
               "m = b1 * m + (1 - b1) * g, and the same for v with g**2. Both are returned without correction.",
               "w = w - lr * decay * w, with the old w.",
               "w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps); return m, v, w.")),
    Function(
        number="8.5", title="Warm-up, and down again", right=schedule, cases=_schedules, outputs=("rates",),
        mistakes={"the rate stays at its peak; after the warm-up it goes down":
                      lambda s, peak, warmup, total: peak * np.minimum(s / warmup, 1.0),
                  "the rate goes on rising; it is the lower of two lines":
                      lambda s, peak, warmup, total: peak * s / warmup,
                  "there is no warm-up": lambda s, peak, warmup, total: peak * (total + 1 - s) / total,
                  "the line down starts at step 0, so the rate jumps at the end of the warm-up":
                      lambda s, peak, warmup, total: peak * np.where(s <= warmup, s / warmup, (total + 1 - s)
                                                                     / (total + 1)),
                  "the last step has the rate 0 and does nothing: 0 comes after it, at total + 1":
                      lambda s, peak, warmup, total: peak * np.minimum(s / warmup, (total - s) / (total - warmup)),
                  "the warm-up starts one step late: step 1 already moves":
                      lambda s, peak, warmup, total: peak * np.minimum((s - 1) / warmup, (total + 1 - s)
                                                                       / (total + 1 - warmup))},
        hints=("Two straight lines; the rate is the lower of the two.",
               "Up: peak * step / warmup. It is peak at step = warmup.",
               "Down: peak at step = warmup, 0 at step = total + 1: peak * (total + 1 - step) / (total + 1 - warmup).",
               "np.minimum takes the lower of two arrays.")),
    Value(
        number="8.6", title="Clipping two parameters", right=[0.6, 0.0],
        mistakes={"that is each parameter, or each number, by itself, which turns the direction": [1.0, 0.0],
                  "divided by the square of the length": [3 / 25, 0.0],
                  "3 + 4 is not the length: it is the root of the sum of the squares": [3 / 7, 0.0],
                  "that is what is left of the second": [0.0, 0.8]},
        hints=("All gradients together are one vector, (3, 0, 0, 4).",
               "Its length is 5, and 1 is allowed, so everything is multiplied with 1 / 5.",
               "[3 / 5, 0].")),
    Backward(
        number="8.7", title="Write this backward: dropout", op="dropout", toy=with_dropout,
        cases=lambda rng: [(rng.standard_normal(shape), p, DropoutKey(7, step, 1))
                           for step, (shape, p) in enumerate((((3, 5), 0.4), ((2, 4, 7), 0.1), ((6, 6), 0.75)))],
        terms={"dx": {"dy keep scale": lambda dy, keep, scale: dy * keep * scale}},
        factors={"dx": {"keep": lambda dy, keep, scale: keep, "scale": lambda dy, keep, scale: scale}},
        mistakes={"divided by scale, which is 1 / (1 - p) already": lambda dy, keep, scale: dy * keep / scale,
                  "scale is not p, it is 1 / (1 - p) already": lambda dy, keep, scale: dy * keep / (1 - scale),
                  "the survivors are exchanged with the dropped: keep is True for those that survive":
                      lambda dy, keep, scale: dy * ~keep * scale,
                  "dy comes back as it went in: neither keep nor scale is in it": lambda dy, keep, scale: dy},
        hints=("y = x keep scale, number by number. What is the slope of y by x?",
               "Where a number was dropped, moving x changes nothing: the slope is 0. Elsewhere it is scale.",
               "The same product as forward, with dy in the place of x.")),
    Value(
        number="8.8", title="The loss of a batch in two parts", right=2.75,
        mistakes={"that is the mean of the means: the word that is alone in its part would count three times": 3.5,
                  "the means cannot be added as they are: each was divided by its own count": 7.0,
                  "that is the sum of the four losses; divide it by how many there are": 11.0,
                  "the weights are exchanged: the first part has three words": 4.25},
        hints=("Go back to sums: the first part's losses sum to 3 * 2.0.",
               "The four losses sum to 6 + 5.",
               "11 / 4.")))
