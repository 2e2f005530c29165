"""Exercises of notebook 1: backpropagation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import functional as F
from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.lab.toys import Toy
from minibert.nn.module import Parameter
from minibert.ops.broadcast import unbroadcast
from minibert.tensor import Tensor


def two_layers() -> Toy:
    """A network of two matrix products that learns a sine by heart."""
    rng = np.random.default_rng(11)
    x = rng.uniform(-2.0, 2.0, (30, 2))
    y = np.sin(x[:, :1]) * x[:, 1:]
    w1, b1, w2 = (Parameter(rng.standard_normal(shape)) for shape in ((2, 12), (12,), (12, 1)))

    def loss() -> Tensor:
        error = F.matmul(F.tanh(F.matmul(Tensor(x), w1) + b1), w2) - y
        return (error * error).mean()
    return Toy("two matrix products", (w1, b1, w2), loss)


def _broadcasts(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    shapes = (((2, 3), (3,)), ((2, 3), (2, 1)), ((4, 2, 3), (2, 1)), ((5, 3), (5, 3)), ((2, 3, 4), (1, 3, 1)))
    return [(rng.standard_normal(big), small) for big, small in shapes]


def _only_leading(d: Array, shape: tuple[int, ...]) -> Array:
    return np.asarray(d.sum(axis=tuple(range(d.ndim - len(shape)))))


def _only_stretched(d: Array, shape: tuple[int, ...]) -> Array:
    """Counts axes from the left, where NumPy counts from the right."""
    return d.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def _mean(d: Array, shape: tuple[int, ...]) -> Array:
    return unbroadcast(d, shape) * (int(np.prod(shape)) / d.size)


def central_differences(f: Callable[[Array], float], x: Array, h: float) -> Array:
    """The right answer to 1.5."""
    return _differences(f, x, lambda step: (f(x + step) - f(x - step)) / (2.0 * h), h)


def _differences(f: Callable[[Array], float], x: Array, slope: Callable[[Array], float], h: float) -> Array:
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = h
        gradient[i] = slope(step)
    return gradient


def _functions(rng: np.random.Generator) -> list[tuple[Any, ...]]:
    return [(lambda x: float((x**3).sum()), rng.standard_normal((2, 3)), 0.01),
            (lambda x: float(np.exp(x[::-1]) @ x), rng.standard_normal(4), 0.02)]


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="1.1", title="Two ways from a", right=-2.0,
        mistakes={"that is the way through a b alone; a is also added": -3.0,
                  "that is the way through + a alone; a is also multiplied": 1.0,
                  "that is the value of c, not its derivative": -4.0,
                  "that is the derivative by b": 2.0},
        hints=("a is used twice, so two gradients come back to it, and they are added.",
               "Through the product comes b, through the sum comes 1.",
               "b + 1, with b = -3.")),
    Value(
        number="1.2", title="Way by way through 20 doublings", right=1048576.0, tolerance=1e-9,
        mistakes={"each doubling has two ways, and they multiply; 2 * 20 is what a sum would give": 40.0,
                  "that is 20 squared; it is 2 to the power of 20": 400.0,
                  "one doubling too few": 524288.0, "one doubling too many": 2097152.0,
                  "that is how often it is visited in topological order": 1.0},
        hints=("Count for one doubling, then for two.", "Each doubling has two ways back, and every way goes on both.",
               "2 * 2 * 2 ..., twenty times: 2**20.")),
    Function(
        number="1.3", title="What was stretched is summed", right=unbroadcast, cases=_broadcasts, outputs=("sum",),
        mistakes={"new axes in front are summed, and axes of length 1 that were stretched are not yet": _only_leading,
                  "axes of length 1 are summed, but shapes line up at the right: there may be new axes in front":
                      _only_stretched,
                  "a sum is wanted, and this is a mean": _mean},
        hints=("Two things happen in broadcasting: new axes in front, and axes of length 1 that are stretched.",
               "There are d.ndim - len(shape) new axes in front: sum over them first, and they are gone.",
               "Then sum, with keepdims=True, over each axis where shape has a 1 and d has more.",
               "d = d.sum(axis=tuple(range(d.ndim - len(shape)))); then for each i with shape[i] == 1: "
               "d = d.sum(axis=i, keepdims=True); return d.")),
    Backward(
        number="1.4", title="Write this backward: a matrix product", op="matmul", given=("a", "b"), toy=two_layers,
        cases=lambda rng: [(rng.standard_normal((n, k)), rng.standard_normal((k, m)))
                           for n, k, m in ((2, 3, 4), (5, 2, 3), (3, 3, 3))],
        terms={"da": {"dy b^T": lambda dy, a, b: dy @ b.T}, "db": {"a^T dy": lambda dy, a, b: a.T @ dy}},
        mistakes={"da and db are exchanged: they come back in the order of the inputs":
                      lambda dy, a, b: (a.T @ dy, dy @ b.T),
                  "da is turned round: it must have a's shape": lambda dy, a, b: ((dy @ b.T).T, a.T @ dy),
                  "db is turned round: it must have b's shape": lambda dy, a, b: (dy @ b.T, dy.T @ a)},
        hints=("Look at the shapes first: dy is (N, M), and da must be (N, K). Which product of dy and b gives that?",
               "(N, M) times (M, K) is (N, K), and (M, K) is b transposed.",
               "da = dy @ b.T. For db, (K, M) is (K, N) times (N, M): the other operand again, transposed, in front.")),
    Function(
        number="1.5", title="A gradient checker", right=central_differences, cases=_functions, outputs=("gradient",),
        mistakes={"that is a one-sided difference, f(x + h) - f(x): step to both sides": lambda f, x, h: _differences(
                      f, x, lambda step: (f(x + step) - f(x)) / h, h),
                  "the two points are 2 h apart, so divide by 2 h": lambda f, x, h: 2 * central_differences(f, x, h),
                  "the difference is not divided by anything yet":
                      lambda f, x, h: 2 * h * central_differences(f, x, h),
                  "all numbers are moved at once; each needs a step of its own": lambda f, x, h: np.full_like(
                      x, (f(x + h) - f(x - h)) / (2 * h))},
        hints=("One number at a time: for i in np.ndindex(x.shape).",
               "Make a step that is 0 but for one number: step = np.zeros_like(x); step[i] = h.",
               "gradient[i] = (f(x + step) - f(x - step)) / (2 * h). Do not change x itself.")),
    Value(
        number="1.6", title="A check that cannot fail", right=[0.0, 0.0, 0.0],
        mistakes={"each x moves its own y by 1, and all of them by the mean's share, too": [1.0, 1.0, 1.0],
                  "that is the way of one y to its own x; the two other y come back, too": [2 / 3, 2 / 3, 2 / 3],
                  "the way through the mean comes with a minus, and is the smaller part": [-1.0, -1.0, -1.0]},
        hints=("x goes two ways: to its own y, and into the mean that all three y lose.",
               "Through its own y comes 1. Through the mean comes -(1 + 1 + 1) / 3.",
               "1 - 1 for each of the three.")))
