"""Elementwise arithmetic with NumPy's broadcasting.

`x` and `y` may have any two shapes that broadcast together; gradients are summed back to each one's shape.
"""

import math
from typing import Any

import numpy as np

from minibert.backend import Array, array_module, beside
from minibert.ops.broadcast import unbroadcast
from minibert.ops.registry import Op, register


def add(x: Array, y: Array) -> tuple[Array, tuple]:
    """z = x + y."""
    return x + y, (x.shape, y.shape)


def add_backward(dz: Array, x_shape: tuple, y_shape: tuple) -> tuple[Array, Array]:
    """dx = dz, dy = dz."""
    return unbroadcast(dz, x_shape), unbroadcast(dz, y_shape)


def subtract(x: Array, y: Array) -> tuple[Array, tuple]:
    """z = x - y."""
    return x - y, (x.shape, y.shape)


def subtract_backward(dz: Array, x_shape: tuple, y_shape: tuple) -> tuple[Array, Array]:
    """dx = dz, dy = -dz."""
    return unbroadcast(dz, x_shape), -unbroadcast(dz, y_shape)


def multiply(x: Array, y: Array) -> tuple[Array, tuple]:
    """z = x y."""
    return x * y, (x, y)


def multiply_backward(dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """dx = dz y, dy = dz x."""
    return unbroadcast(dz * y, x.shape), unbroadcast(dz * x, y.shape)


def divide(x: Array, y: Array) -> tuple[Array, tuple]:
    """z = x / y."""
    z = x / y
    return z, (x.shape, y, z)


def divide_backward(dz: Array, x_shape: tuple, y: Array, z: Array) -> tuple[Array, Array]:
    """dx = dz / y, dy = -dz z / y."""
    dx = dz / y
    return unbroadcast(dx, x_shape), unbroadcast(-dx * z, y.shape)


def maximum(x: Array, y: Array) -> tuple[Array, tuple]:
    """z = max(x, y)."""
    return array_module(x).maximum(x, y), (x, y)


def maximum_backward(dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """dz goes to the larger of the two; at a tie, a kink, half goes to each."""
    to_x = array_module(dz).where(x == y, 0.5, x > y).astype(dz.dtype)
    dx = dz * to_x
    return unbroadcast(dx, x.shape), unbroadcast(dz - dx, y.shape)


def where(condition: Array, x: Array, y: Array) -> tuple[Array, tuple]:
    """z = x where `condition` (boolean), else y."""
    condition = beside(condition, x)
    return array_module(x).where(condition, x, y), (condition, x.shape, y.shape)


def where_backward(dz: Array, condition: Array, x_shape: tuple, y_shape: tuple) -> tuple[Array, Array]:
    """dx = dz where `condition`, dy = dz elsewhere."""
    xp = array_module(dz)
    return unbroadcast(xp.where(condition, dz, 0.0), x_shape), unbroadcast(xp.where(condition, 0.0, dz), y_shape)


def power(x: Array, exponent: float) -> tuple[Array, tuple]:
    """y = x^exponent, for a fixed number as exponent."""
    return x**exponent, (x, exponent)


def power_backward(dy: Array, x: Array, exponent: float) -> tuple[Array]:
    """dx = dy exponent x^(exponent - 1); a constant, exponent 0, has gradient 0 even at x = 0."""
    if exponent == 0:
        return (dy * 0.0,)
    return (dy * (exponent * x ** (exponent - 1)),)


def exp(x: Array) -> tuple[Array, tuple]:
    """y = e^x.  Backward needs the output, not the input."""
    y = array_module(x).exp(x)
    return y, (y,)


def exp_backward(dy: Array, y: Array) -> tuple[Array]:
    """dx = dy y."""
    return (dy * y,)


def log(x: Array) -> tuple[Array, tuple]:
    """y = ln x."""
    return array_module(x).log(x), (x,)


def log_backward(dy: Array, x: Array) -> tuple[Array]:
    """dx = dy / x."""
    return (dy / x,)


def sqrt(x: Array) -> tuple[Array, tuple]:
    """y = sqrt(x)."""
    y = array_module(x).sqrt(x)
    return y, (y,)


def sqrt_backward(dy: Array, y: Array) -> tuple[Array]:
    """dx = dy / (2 y); at x = 0, where no slope is finite, the gradient is defined as 0."""
    zero = y == 0
    return (dy * ~zero / (2.0 * y + zero),)


def elementwise_reference(f: Any, *arrays: Array) -> Array:
    """Apply a function of Python numbers to each element: the meaning of every operation in this file."""
    arrays = np.broadcast_arrays(*arrays)
    values = [f(*numbers) for numbers in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
    return np.array(values, dtype=np.float64).reshape(arrays[0].shape)


def add_reference(x: Array, y: Array) -> Array:
    return elementwise_reference(float.__add__, x, y)


def subtract_reference(x: Array, y: Array) -> Array:
    return elementwise_reference(float.__sub__, x, y)


def multiply_reference(x: Array, y: Array) -> Array:
    return elementwise_reference(float.__mul__, x, y)


def divide_reference(x: Array, y: Array) -> Array:
    return elementwise_reference(float.__truediv__, x, y)


def maximum_reference(x: Array, y: Array) -> Array:
    return elementwise_reference(max, x, y)


def where_reference(condition: Array, x: Array, y: Array) -> Array:
    return condition * x + (1 - condition) * y


def power_reference(x: Array, exponent: float) -> Array:
    return elementwise_reference(math.pow, x, np.float64(exponent))


def exp_reference(x: Array) -> Array:
    return elementwise_reference(math.exp, x)


def log_reference(x: Array) -> Array:
    return elementwise_reference(math.log, x)


def sqrt_reference(x: Array) -> Array:
    return elementwise_reference(math.sqrt, x)


TWO, ONE = "x, y broadcastable -> z broadcast(x, y)", "x (...) -> y (...)"
register(Op(add, add_backward, ("x", "y"), r"z = x + y", r"dx = dz,\; dy = dz", TWO, add_reference))
register(Op(subtract, subtract_backward, ("x", "y"), r"z = x - y", r"dx = dz,\; dy = -dz", TWO,
            subtract_reference))
register(Op(multiply, multiply_backward, ("x", "y"), r"z = x\,y", r"dx = dz\,y,\; dy = dz\,x", TWO,
            multiply_reference))
register(Op(divide, divide_backward, ("x", "y"), r"z = \frac{x}{y}", r"dx = \frac{dz}{y},\; dy = -\frac{dz\,z}{y}", TWO,
            divide_reference))
register(Op(maximum, maximum_backward, ("x", "y"), r"z = \max(x, y)",
            r"dx = dz\,[x > y] + \tfrac12 dz\,[x = y],\;"
            r" dy = dz\,[x < y] + \tfrac12 dz\,[x = y]", TWO, maximum_reference,
            kinks="where x = y: half of dz goes to each"))
register(Op(where, where_backward, ("x", "y"), r"z = c\,x + (1 - c)\,y",
            r"dx = c\,dz,\; dy = (1 - c)\,dz", "condition, " + TWO, where_reference, notation={"condition": "c"}))
register(Op(power, power_backward, ("x",), r"y = x^p", r"dx = dy\,p\,x^{p-1}", ONE, power_reference,
            notation={"exponent": "p"},
            kinks="where x = 0: the gradient is 0 for exponent 0, and infinite for exponents between 0 and 1"))
register(Op(exp, exp_backward, ("x",), r"y = e^x", r"dx = dy\,y", ONE, exp_reference))
register(Op(log, log_backward, ("x",), r"y = \ln x", r"dx = \frac{dy}{x}", ONE, log_reference))
register(Op(sqrt, sqrt_backward, ("x",), r"y = \sqrt x", r"dx = \frac{dy}{2y}", ONE, sqrt_reference,
            kinks="where x = 0: no slope is finite; the gradient is defined as 0"))
