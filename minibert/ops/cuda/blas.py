"""Matrix products on a GPU, through cuBLAS itself.

cupy.matmul copies a transposed operand of a stack of matrices, leaves such stacks out when TF32 is asked for, and may
not be called while a stream is captured into a graph (CuPy 14.2). One cuBLAS function does all of it, for a handle of
our own whose workspace is allocated once.

How exactly a float32 product sees its factors is a choice, the same for all of them; arrays, weights and sums stay
float32, and float64 products are never touched by it. With u the largest relative error of a factor as it is seen:

    float32   all 23 bits after the point: u = 0
    tf32      10 bits, to the nearest: u = 2^-11 = 0.0005
    bfloat16   7 bits, to the nearest: u = 2^-8 = 0.004

Both keep the 8 bits of float32's exponent, and so its range. A product of two factors is off by at most 2 u |a b| (and
u^2 |a b|), a sum of k of them by 2 u sum(|a b|): a tolerance that always holds. Where signs are random, so are the
errors, and the sum is off by about sqrt(k) u |a| |b|, with |a| and |b| the usual sizes. Adding up in float32 puts at
most k 2^-24 sum(|a b|) on top, whatever the choice.
"""

import ctypes
import math
import sys
from functools import cache
from typing import Any

import numpy as np

from minibert.backend import Array, cupy
from minibert.errors import InputError

WORKSPACE = 32 << 20  # bytes; what cuBLAS asks for on an H100
FLOAT32, FLOAT64 = 0, 1  # cudaDataType_t
COMPUTE = {"float32": 68, "tf32": 77, "bfloat16": 75}  # cublasComputeType_t of products of float32 arrays
COMPUTE_64F = 70
DEFAULT_ALGORITHM = -1
PRECISIONS = tuple(COMPUTE)
in_use = {"precision": "float32"}


def set_precision(name: str) -> None:
    """From now on, matrix products of float32 arrays on a GPU see their factors as `name`, one of PRECISIONS.

    tf32 and bfloat16 allow cuBLAS to use tensor cores that a GPU has from compute capability 8.0 on; an older one may
    compute in float32 as before.  A CUDA graph keeps the precision that it was captured with.
    Raises InputError when there is no such precision.
    """
    if name not in PRECISIONS:
        raise InputError(f"the precision of matrix products is {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, "
                         f"not {name!r}")
    in_use["precision"] = name


def precision() -> str:
    """How matrix products of float32 arrays on a GPU see their factors: one of PRECISIONS."""
    return in_use["precision"]


class Blas:
    """A cuBLAS handle that may be used while its stream is captured."""

    def __init__(self) -> None:
        from cupy.cuda import cublas, device

        version = cublas.getVersion(device.get_cublas_handle()) // 10000
        name = f"cublas64_{version}.dll" if sys.platform == "win32" else f"libcublas.so.{version}"
        self.library = ctypes.CDLL(name)  # which CuPy has loaded, wherever it was
        self.handle = ctypes.c_void_p()
        self.check(self.library.cublasCreate_v2(ctypes.byref(self.handle)))
        self.workspace = cupy().cuda.alloc(WORKSPACE)
        self.stream: int | None = None

    def check(self, status: int) -> None:
        """Raise InputError when cuBLAS says that it could not do what it was asked."""
        if status:
            raise InputError(f"cuBLAS failed with status {status}: is the GPU out of memory, or its CUDA older than "
                             f"CuPy's?")

    def on_stream(self) -> Any:
        """The handle, working on the current stream; setting a stream forgets the workspace."""
        stream = cupy().cuda.get_current_stream().ptr
        if stream != self.stream:
            self.check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)))
            self.check(self.library.cublasSetWorkspace_v2(self.handle, ctypes.c_void_p(self.workspace.ptr),
                                                          ctypes.c_size_t(WORKSPACE)))
            self.stream = stream
        return self.handle


blas = cache(Blas)


def gemm(a: Array, b: Array, ta: bool = False, tb: bool = False, alpha: float = 1.0) -> Array:
    """alpha a b over the last two axes, either operand transposed first if asked; leading axes are a stack.

    a (..., N, K), b (..., K, M), each stored row by row, both stacks alike  ->  (..., N, M).
    """
    stack, (rows_a, columns_a), (rows_b, columns_b) = a.shape[:-2], a.shape[-2:], b.shape[-2:]
    n, k = (columns_a, rows_a) if ta else (rows_a, columns_a)
    m = rows_b if tb else columns_b
    if b.shape[:-2] != stack or k != (columns_b if tb else rows_b) or a.dtype != b.dtype:
        raise InputError(f"cannot multiply {a.dtype} {a.shape} and {b.dtype} {b.shape} (transposed: {ta}, {tb})")
    if not (a.flags.c_contiguous and b.flags.c_contiguous):
        raise InputError("gemm takes arrays stored row by row: transpose by ta and tb")
    y = cupy().empty((*stack, n, m), a.dtype)
    if y.size == 0 or k == 0:
        y.fill(0.0)
        return y
    double = a.dtype == np.float64
    kind, number = (FLOAT64, ctypes.c_double) if double else (FLOAT32, ctypes.c_float)
    compute = COMPUTE_64F if double else COMPUTE[precision()]
    # cuBLAS reads columns where we write rows, and so sees every matrix transposed: y^T = b^T a^T
    blas().check(blas().library.cublasGemmStridedBatchedEx(
        blas().on_stream(), int(tb), int(ta), m, n, k, ctypes.byref(number(alpha)),
        ctypes.c_void_p(b.data.ptr), kind, columns_b, ctypes.c_longlong(rows_b * columns_b),
        ctypes.c_void_p(a.data.ptr), kind, columns_a, ctypes.c_longlong(rows_a * columns_a),
        ctypes.byref(number(0.0)), ctypes.c_void_p(y.data.ptr), kind, m, ctypes.c_longlong(n * m),
        math.prod(stack), compute, DEFAULT_ALGORITHM))
    return y
