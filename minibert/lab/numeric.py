"""Numbers that must agree: by hand, by finite differences, by the library."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.tensor import Tensor


def numeric_gradient(f: Callable[[Array], Any], x: Array, h: float = 1e-6) -> Array:
    """d f / d x by central differences, one number of x at a time; f maps an array to a single number."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = h
        gradient[i] = (_number(f(x + step)) - _number(f(x - step))) / (2.0 * h)
    return gradient


def agree(tolerance: float = 1e-7, **arrays: Any) -> str:
    """Say that all these arrays are equal, relative to their largest number.  Raises AssertionError where they differ.

    agree(by_hand=dx, numeric=lab.numeric_gradient(f, x), library=x.grad)
    """
    values = {name: np.asarray(x.data if isinstance(x, Tensor) else x) for name, x in arrays.items()}
    (first, y), *others = values.items()
    for name, x in others:
        if x.shape != y.shape:
            raise AssertionError(f"{name} has shape {x.shape}, and {first} has shape {y.shape}")
        off = float(np.abs(x - y).max(initial=0.0)) / max(float(np.abs(y).max(initial=0.0)), 1.0)
        if not off <= tolerance:
            raise AssertionError(f"{name} and {first} differ by {off:.1e}, relative to their largest number")
    *names, last = (name.replace("_", " ") for name in values)
    return f"{', '.join(names)} and {last} agree to {tolerance:g}"


def _number(value: Any) -> float:
    return float(value.item() if isinstance(value, Tensor) else value)
