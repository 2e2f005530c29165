"""Picking parts of an array, by everything NumPy accepts between brackets."""

from typing import Any

import numpy as np

from minibert.backend import Array, array_module, beside, device_of
from minibert.ops.registry import Op, register


def getitem(x: Array, index: Any) -> tuple[Array, tuple]:
    """y = x[index]."""
    # a list could be changed before backward reads it, and an array can be made read-only
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part for given in parts for part in _fixed(given, x))
    index = parts if isinstance(index, tuple) or len(parts) > 1 else parts[0]
    return x[index], (x.shape, index)


def getitem_backward(dy: Array, x_shape: tuple, index: Any) -> tuple[Array]:
    """Add each number of dy at the place it was read from.

    A place that was read twice receives two contributions: `dx[index] += dy` would keep only one of them.
    """
    xp = array_module(dy)
    dx = xp.zeros(x_shape, dtype=dy.dtype)
    if _is_basic(index):
        dx[index] = dy  # slices and single numbers never read a place twice
    else:
        places = xp.arange(dx.size).reshape(x_shape)[index]  # NumPy adds at single numbers 5 times as fast as at rows
        xp.add.at(dx.reshape(-1), places.reshape(-1), dy.reshape(-1))
    return (dx,)


def _fixed(part: Any, x: Array) -> tuple[Any, ...]:
    """A list as the array that NumPy takes it for, and an array beside x; anything else as it is.

    A mask goes to another device as the places where it is True: the shape of x[mask] is not known there.
    """
    if isinstance(part, list):
        part = np.array(part, dtype=None if part else np.intp)
    if isinstance(part, np.ndarray) and part.dtype == bool and part.ndim and device_of(x) != "cpu":
        return tuple(beside(places, x) for places in part.nonzero())
    return (beside(part, x),)


def _is_basic(index: Any) -> bool:
    """Whether `index` holds only integers, slices, None and Ellipsis."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, slice)
               or (isinstance(part, int | np.integer) and not isinstance(part, bool)) for part in parts)


def getitem_reference(x: Array, index: Any) -> Array:
    places = np.arange(x.size).reshape(x.shape)[index]
    numbers = x.ravel().tolist()
    return np.array([numbers[i] for i in np.ravel(places)]).reshape(np.shape(places))


register(Op(getitem, getitem_backward, ("x",), r"y_n = x_{i_n}", r"dx_m = \sum_n [i_n = m]\,dy_n",
            "x (...) -> y (shape of x[index])", getitem_reference,
            notation={"index": "i", "m": r"\text{numbers all of x, in row-major order}"}))
