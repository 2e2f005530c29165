"""Operations that move numbers and change none: each backward is the inverse move."""

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.broadcast import unbroadcast
from minibert.ops.registry import Op, register

Shape = tuple[int, ...]


def reshape(x: Array, shape: Shape) -> tuple[Array, tuple]:
    """The same numbers in the same (row-major) order, with another shape."""
    return x.reshape(shape), (x.shape,)


def reshape_backward(dy: Array, x_shape: Shape) -> tuple[Array]:
    """Give dy the shape of x again."""
    return (dy.reshape(x_shape),)


def transpose(x: Array, axes: Shape) -> tuple[Array, tuple]:
    """Axis i of y is axis axes[i] of x."""
    return x.transpose(axes), (axes,)


def transpose_backward(dy: Array, axes: Shape) -> tuple[Array]:
    """Transpose by the inverse permutation."""
    inverse = sorted(range(len(axes)), key=[a % len(axes) for a in axes].__getitem__)
    return (dy.transpose(inverse),)


def broadcast_to(x: Array, shape: Shape) -> tuple[Array, tuple]:
    """Repeat x along new axes and axes of length 1, up to `shape`."""
    return array_module(x).broadcast_to(x, shape), (x.shape,)


def broadcast_to_backward(dy: Array, x_shape: Shape) -> tuple[Array]:
    """What was repeated is summed."""
    return (unbroadcast(dy, x_shape),)


def concatenate(*xs: Array, axis: int = 0) -> tuple[Array, tuple]:
    """Put arrays one after the other along `axis`."""
    return array_module(xs[0]).concatenate(xs, axis=axis), ([x.shape[axis] for x in xs], axis)


def concatenate_backward(dy: Array, lengths: list[int], axis: int) -> tuple[Array, ...]:
    """Cut dy where the arrays met."""
    cuts = np.cumsum(lengths)[:-1].tolist()
    return tuple(array_module(dy).split(dy, cuts, axis=axis))


def split_heads(x: Array, heads: int) -> tuple[Array, tuple]:
    """Cut the hidden axis into heads: x (B, T, H) -> y (B, A, T, D), with H = A D.

    Vaswani et al. 2017, section 3.2.2.
    """
    B, T, H = x.shape
    return x.reshape(B, T, heads, H // heads).transpose(0, 2, 1, 3), ()


def split_heads_backward(dy: Array) -> tuple[Array]:
    """dy (B, A, T, D) -> dx (B, T, H): merge the heads again."""
    return (merge_heads(dy)[0],)


def merge_heads(x: Array) -> tuple[Array, tuple]:
    """Put the heads side by side: x (B, A, T, D) -> y (B, T, H), with H = A D.

    Vaswani et al. 2017, section 3.2.2: Concat(head_1, ..., head_A).
    """
    B, A, T, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, A * D), (A,)


def merge_heads_backward(dy: Array, heads: int) -> tuple[Array]:
    """dy (B, T, H) -> dx (B, A, T, D): split the heads again."""
    return (split_heads(dy, heads)[0],)


def reshape_reference(x: Array, shape: Shape) -> Array:
    y = np.empty(x.size)
    for position, index in enumerate(np.ndindex(*x.shape)):
        y[position] = x[index]
    return y.reshape(shape)


def transpose_reference(x: Array, axes: Shape) -> Array:
    y = np.empty([x.shape[a] for a in axes])
    for index in np.ndindex(*y.shape):
        source = [0] * x.ndim
        for i, a in zip(index, axes, strict=True):
            source[a] = i
        y[index] = x[tuple(source)]
    return y


def broadcast_to_reference(x: Array, shape: Shape) -> Array:
    return x + np.zeros(shape)


def concatenate_reference(*xs: Array, axis: int = 0) -> Array:
    slices = [piece for x in xs for piece in np.moveaxis(x, axis, 0)]
    return np.moveaxis(np.array(slices), 0, axis)


def split_heads_reference(x: Array, heads: int) -> Array:
    B, T, H = x.shape
    D = H // heads
    y = np.empty((B, heads, T, D))
    for b, a, t, d in np.ndindex(*y.shape):
        y[b, a, t, d] = x[b, t, a * D + d]
    return y


def merge_heads_reference(x: Array) -> Array:
    B, A, T, D = x.shape
    y = np.empty((B, T, A * D))
    for b, a, t, d in np.ndindex(*x.shape):
        y[b, t, a * D + d] = x[b, a, t, d]
    return y


HEADS = "Vaswani et al. 2017, section 3.2.2 (arXiv:1706.03762)"
register(Op(reshape, reshape_backward, ("x",), r"y_n = x_n", r"dx_n = dy_n", "x (...) -> y shape", reshape_reference))
register(Op(transpose, transpose_backward, ("x",), r"y_{i_{a_0} i_{a_1} \ldots} = x_{i_0 i_1 \ldots}",
            r"dx_{i_0 i_1 \ldots} = dy_{i_{a_0} i_{a_1} \ldots}", "x (...) -> y (...) permuted", transpose_reference,
            notation={"axes": "a"}))
register(Op(broadcast_to, broadcast_to_backward, ("x",), r"y_{bi} = x_i", r"dx_i = \sum_b dy_{bi}",
            "x (...) -> y shape", broadcast_to_reference,
            notation={"b": r"\text{numbers the repetitions}", "i": r"\text{numbers all of x}"}))
register(Op(concatenate, concatenate_backward, ("xs",), r"y = [x_1; x_2; \ldots]", r"[dx_1; dx_2; \ldots] = dy",
            "x_k (..., n_k, ...) -> y (..., sum n_k, ...)", concatenate_reference, variadic=True,
            notation={"lengths": r"\text{how long each input is along the axis}"}))
register(Op(split_heads, split_heads_backward, ("x",), r"y_{batd} = x_{bt(aD + d)},\; D = H / A",
            r"dx_{bt(aD + d)} = dy_{batd}", "x (B, T, H) -> y (B, A, T, D)", split_heads_reference, HEADS,
            notation={"heads": "A"}))
register(Op(merge_heads, merge_heads_backward, ("x",), r"y_{bt(aD + d)} = x_{batd}", r"dx_{batd} = dy_{bt(aD + d)}",
            "x (B, A, T, D) -> y (B, T, H)", merge_heads_reference, HEADS, notation={"heads": "A"}))
