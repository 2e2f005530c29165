"""The CUDA twins of matrix products, and of what follows them number by number: bias and GELU."""

import numpy as np

from minibert.backend import Array, array_module
from minibert.errors import InputError
from minibert.ops.cuda.blas import gemm
from minibert.ops.cuda.launcher import contiguous, each_number
from minibert.ops.cuda.sums import column_sums


def matmul(a: Array, b: Array, ta: bool = False, tb: bool = False) -> tuple[Array, tuple]:
    if a.ndim < 2 or b.ndim < 2 or a.shape[:-2] != b.shape[:-2]:
        raise InputError(f"on a GPU both operands of matmul must be stacks alike, not {a.shape} and {b.shape}")
    a, b = contiguous(a), contiguous(b)
    return gemm(a, b, ta, tb), (a, b, ta, tb)


def matmul_backward(dy: Array, a: Array, b: Array, ta: bool, tb: bool) -> tuple[Array, Array]:
    dy = contiguous(dy)
    da = gemm(b, dy, tb, True) if ta else gemm(dy, b, False, not tb)
    db = gemm(dy, a, True, ta) if tb else gemm(a, dy, not ta, False)
    return da, db


def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, tuple]:
    x, weight = contiguous(x), contiguous(weight)
    y = gemm(x.reshape(-1, x.shape[-1]), weight, tb=True)
    if bias is not None:
        each_number("add_bias", y.size, y, contiguous(bias), y, np.int64(y.size), np.int32(len(bias)))
    return y.reshape(*x.shape[:-1], len(weight)), (x, weight, bias is not None)


def linear_backward(dy: Array, x: Array, weight: Array, has_bias: bool) -> tuple[Array, Array, Array | None]:
    dy_rows, x_rows = contiguous(dy).reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dx = gemm(dy_rows, weight).reshape(x.shape)
    dweight = gemm(dy_rows, x_rows, ta=True)
    return dx, dweight, column_sums(dy_rows) if has_bias else None


def gelu(x: Array) -> tuple[Array, tuple]:
    xp, x = array_module(x), contiguous(x)
    y, cdf = xp.empty(x.shape, x.dtype), xp.empty(x.shape, x.dtype)
    each_number("gelu", x.size, x, y, cdf, np.int64(x.size))
    return y, (x, cdf)


def gelu_backward(dy: Array, x: Array, cdf: Array) -> tuple[Array]:
    dx = array_module(x).empty(x.shape, x.dtype)
    each_number("gelu_backward", x.size, contiguous(dy), x, cdf, dx, np.int64(x.size))
    return (dx,)


def linear_gelu(x: Array, weight: Array, bias: Array) -> tuple[Array, tuple]:
    h, (x, weight, _) = linear(x, weight)  # the product, to which the kernel adds the bias in place
    xp = array_module(h)
    y, cdf = xp.empty(h.shape, h.dtype), xp.empty(h.shape, h.dtype)
    each_number("bias_gelu", h.size, h, contiguous(bias), h, y, cdf, np.int64(h.size), np.int32(len(bias)))
    return y, (x, weight, h, cdf)


def linear_gelu_backward(dy: Array, x: Array, weight: Array, h: Array, cdf: Array) -> tuple[Array, Array, Array]:
    (dh,) = gelu_backward(dy, h, cdf)
    dx, dweight, dbias = linear_backward(dh, x, weight, has_bias=True)
    return dx, dweight, dbias
