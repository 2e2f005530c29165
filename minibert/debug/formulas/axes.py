"""Arrays some of whose axes have names, the indices of a formula, and arithmetic that brings equal names together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError


@dataclass(frozen=True)
class Axes:
    """An array whose last axes have these names; the axes in front of them have none."""

    array: Array
    names: tuple[str, ...] = ()

    def to(self, names: tuple[str, ...], lengths: tuple[int, ...] = ()) -> Array:
        """The array with exactly these last axes, of length 1 where it lacks one, or of `lengths` if given."""
        front = self.array.ndim - len(self.names)
        order = [front + self.names.index(n) for n in names if n in self.names]
        array = self.array.transpose(*range(front), *order)
        array = array[(..., *(slice(None) if n in self.names else None for n in names))]
        return np.broadcast_to(array, array.shape[:front] + lengths) if lengths else array


def align(values: Sequence[Axes]) -> tuple[tuple[str, ...], list[Array]]:
    """The names of all values, and their arrays with axes for all these names."""
    names = tuple(dict.fromkeys(name for value in values for name in value.names))
    return names, [value.to(names) for value in values]


def elementwise(f: Callable[..., Array], *values: Axes) -> Axes:
    """f of numbers that have the same indices."""
    names, arrays = align(values)
    return Axes(np.asarray(f(*arrays), np.float64), names)


def divide(x: Array, y: Array) -> Array:
    """x / y, and 0 for 0 / 0."""
    return np.where((x == 0) & (y == 0), 0.0, x / y)


def matrix_product(a: Axes, b: Axes) -> Axes:
    """Over the last two axes; a vector is one row, and a number multiplies."""
    if a.names or b.names:
        raise InputError("a product of matrices has no indices")
    if not a.array.ndim or not b.array.ndim:
        return Axes(a.array * b.array)
    return Axes(np.atleast_2d(a.array) @ np.atleast_2d(b.array))


def softmax(x: Array) -> Array:
    """Over the last axis, by its definition."""
    return divide(np.exp(x), np.exp(x).sum(-1, keepdims=True))


def scattered(array: Array, places: Sequence[Array]) -> Array:
    """The array whose element at places[0][i], places[1][i], ... is array[i].

    Raises InputError unless each element is given exactly once.
    """
    shape = tuple(int(place.max()) + 1 for place in places)
    counts = np.zeros(shape, int)
    index = tuple(np.broadcast_to(place, array.shape) for place in places)
    np.add.at(counts, index, 1)
    if (counts != 1).any():
        raise InputError("the indices on the left do not name each number once")
    result = np.empty(shape)
    result[index] = array
    return result
