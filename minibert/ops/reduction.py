"""Sums, means and maxima over axes.  `axis`: None (all), an int, or a tuple of ints; as in NumPy."""

import math

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.registry import Op, register

Axis = int | tuple[int, ...] | None


def _expand(dy: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """Put the reduced axes back as axes of length 1, and stretch `dy` over them to `shape`."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = {a % len(shape) for a in axes}
    kept = tuple(1 if i in reduced else n for i, n in enumerate(shape))
    return array_module(dy).broadcast_to(dy.reshape(kept), shape)


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, tuple]:
    """y = sum of x over `axis`."""
    return x.sum(axis=axis, keepdims=keepdims), (x.shape, axis)


def sum_backward(dy: Array, x_shape: tuple, axis: Axis) -> tuple[Array]:
    """dx = dy, the same for every term of the sum."""
    return (_expand(dy, x_shape, axis),)


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, tuple]:
    """y = mean of x over `axis`."""
    return x.mean(axis=axis, keepdims=keepdims), (x.shape, axis)


def mean_backward(dy: Array, x_shape: tuple, axis: Axis) -> tuple[Array]:
    """dx = dy / n, where n counts the numbers in each mean, and no others."""
    n = math.prod(x_shape) / (dy.size or 1)
    return (_expand(dy / n, x_shape, axis),)


def max(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, tuple]:
    """y = largest of x over `axis`."""
    y = x.max(axis=axis, keepdims=keepdims)
    return y, (x, y, axis)


def max_backward(dy: Array, x: Array, y: Array, axis: Axis) -> tuple[Array]:
    """dy goes to the largest number; at a tie, a kink, it is shared equally."""
    largest = (x == _expand(y, x.shape, axis)).astype(dy.dtype)
    shares = largest.sum(axis=axis, keepdims=True)
    return (largest / shares * _expand(dy, x.shape, axis),)


def _reduce_reference(x: Array, axis: Axis, keepdims: bool, what: str) -> Array:
    """Gather the numbers of each reduced cell in a list, then apply Python's own function to the list."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = {a % x.ndim for a in axes}
    cells: dict[tuple[int, ...], list[float]] = {}
    for index in np.ndindex(*x.shape):
        cell = tuple(0 if i in reduced else k for i, k in enumerate(index))
        cells.setdefault(cell, []).append(float(x[index]))
    kept = tuple(1 if i in reduced else n for i, n in enumerate(x.shape))
    y = np.empty(kept)
    for cell, values in cells.items():
        y[cell] = {"sum": math.fsum(values), "mean": math.fsum(values) / len(values), "max": sorted(values)[-1]}[what]
    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in reduced])


def sum_reference(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return _reduce_reference(x, axis, keepdims, "sum")


def mean_reference(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return _reduce_reference(x, axis, keepdims, "mean")


def max_reference(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return _reduce_reference(x, axis, keepdims, "max")


REDUCES = "x (...) -> y (... without the axes of `axis`; of length 1 with keepdims)"
OVER = {"k": r"\text{numbers the K terms, along axis}"}
register(Op(sum, sum_backward, ("x",), r"y = \sum_k x_k", r"dx_k = dy", REDUCES, sum_reference, notation=OVER))
register(Op(mean, mean_backward, ("x",), r"y = \frac1K \sum_k x_k", r"dx_k = \frac{dy}{K}", REDUCES, mean_reference,
            notation=OVER))
register(Op(max, max_backward, ("x",), r"y = \max_k x_k", r"dx_k = dy\,\frac{[x_k = y]}{\sum_j [x_j = y]}", REDUCES,
            max_reference, notation=OVER, kinks="at a tie: dy is shared equally among the largest numbers"))
