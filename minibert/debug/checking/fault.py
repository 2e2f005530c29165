"""In what way is a gradient wrong?  Its numbers beside the true ones, which are measured one by one."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from math import prod, sqrt

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.comparison import Claim
from minibert.debug.execution import Execution
from minibert.graph import Node

SAMPLE = 400  # numbers of a gradient that are measured, where it has more
CLOSE = 1e-5  # relative, in the Euclidean norm
READERS = ("embedding", "getitem")  # operations that read numbers of their input, some of them more than once


def fault(execution: Execution, node: Node, claims: Sequence[Claim], wrong: Claim) -> str:
    """The way in which the claim about one input of `node` is wrong, in words; a pattern where it has a simple one."""
    if wrong.dx is None or wrong.problem():
        return wrong.problem()
    at = _sample(wrong.x.size)
    true = np.array([wrong.entry(tuple(map(int, np.unravel_index(i, wrong.x.shape)))).slope.value for i in at])
    dx = np.asarray(wrong.dx)
    mine = dx.ravel()[at]
    if not dx.any():
        return "zero, and must not be"
    factor = float(mine @ true / (true @ true)) if true.any() else 0.0
    if factor and close(mine, factor * true):
        return _factor(factor, node, wrong.x.shape)
    for other in claims:
        its = np.asarray(other.dx)
        if other is not wrong and its.shape == dx.shape and close(its.ravel()[at], true):
            return f"the numbers that belong here were returned as d{other.name}"
    for moved, how in _moves(dx):
        if close(moved.ravel()[at], true):
            return f"right but for the order of its numbers: {how}"
    if at.size == dx.size and close(np.sort(mine), np.sort(true)):
        return "the right numbers in the wrong places"
    return _repeats(execution, node, at, mine, true) or _pattern_of_error(dx, at, mine, true)


def close(x: Array, y: Array) -> bool:
    """Whether two arrays are the same but for rounding."""
    return bool(np.linalg.norm(x - y) <= CLOSE * max(np.linalg.norm(x), np.linalg.norm(y)))


def _sample(size: int) -> Array:
    return np.arange(size) if size <= SAMPLE else np.random.default_rng(0).choice(size, SAMPLE, replace=False)


def _factor(factor: float, node: Node, shape: tuple[int, ...]) -> str:
    """A factor, and where a number of that size stands in the shapes."""
    if abs(factor + 1.0) < CLOSE:
        return "the wrong sign"
    size = max(abs(factor), 1.0 / abs(factor))
    what = f"{size:.6g} x too {'large' if abs(factor) > 1 else 'small'}{', and the wrong sign' if factor < 0 else ''}"
    for n, name in _counts(node.shape, shape):
        if n > 2 and abs(size / n - 1.0) < CLOSE:
            mean = ", as if a mean stood for a sum" if abs(factor) < 1 else ""
            return f"{what}; {n} is {name}{mean}"
        if n > 2 and abs(size / sqrt(n) - 1.0) < CLOSE:
            return f"{what}; that is the root of {n}, {name}"
    return what


def _counts(y: tuple[int, ...], x: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """Numbers by which gradients are often too large or too small."""
    for shape, name in ((y, "the result"), (x, "the input")):
        if shape:
            yield prod(shape[:-1]), f"the number of rows of {name}"
            yield prod(shape), f"the size of {name}"
            yield from ((n, f"the length of axis {axis} of {name}") for axis, n in enumerate(shape))


def _moves(dx: Array) -> Iterator[tuple[Array, str]]:
    """dx with its axes exchanged or reversed, where that keeps its shape, or read column by column."""
    for axes in permutations(range(dx.ndim)):
        moved = dx.transpose(axes)
        if moved.shape == dx.shape and axes != tuple(range(dx.ndim)):
            yield moved, "transposed" if dx.ndim == 2 else f"its axes are permuted, {axes}"
    for axis in range(dx.ndim):
        yield np.flip(dx, axis), f"axis {axis} is reversed"
    yield dx.ravel().reshape(dx.shape, order="F"), "read row by row, and written column by column"
    yield dx.ravel(order="F").reshape(dx.shape), "read column by column, and written row by row"


def _repeats(execution: Execution, node: Node, at: Array, mine: Array, true: Array) -> str:
    """Whether only the numbers that were read more than once are wrong."""
    if node.op.name not in READERS:
        return ""
    x, *rest = execution.arguments(node)
    places = execution.op(node).forward(np.arange(x.size).reshape(x.shape), *rest, **execution.hyper(node))[0]
    repeated = np.bincount(np.ravel(places), minlength=x.size)[at] > 1
    if close(mine[~repeated], true[~repeated]) and repeated.any():
        return "right where a number was read once, wrong where it was read several times: repeats are not added up"
    return ""


def _pattern_of_error(dx: Array, at: Array, mine: Array, true: Array) -> str:
    """Where the error is, at least."""
    error = mine - true
    if at.size == dx.size and dx.ndim:
        grid = error.reshape(dx.shape)
        for axis in range(dx.ndim):
            if dx.shape[axis] > 1 and close(grid, np.broadcast_to(grid.mean(axis=axis, keepdims=True), grid.shape)):
                return f"off by the same number all along axis {axis}: a sum or mean over it is missing, or too much"
    wrong = np.abs(error) > CLOSE * np.abs(true).max()
    worst = int(np.argmax(np.abs(error)))
    index = ", ".join(map(str, map(int, np.unravel_index(at[worst], dx.shape))))
    return (f"wrong in {int(wrong.sum()):,} of {at.size:,} numbers, most at [{index}]: {mine[worst]:+.4g} where "
            f"{true[worst]:+.4g} belongs")
