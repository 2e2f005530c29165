"""Compiles the kernels, and launches them with arguments that are what they take.

A raw kernel believes what it is given: a Python float would be read as the first half of a double, an array of another
dtype as other numbers. So every argument is checked here.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from minibert.backend import Array, array_module, cupy

THREADS = 256
MOST_BLOCKS = 4096  # of a flat kernel, whose threads stride over what is left


@cache
def module() -> Any:
    """All kernels, compiled once for this GPU; CuPy keeps them on disk."""
    folder = files("minibert.ops.cuda").joinpath("kernels")
    sources = sorted(folder.iterdir(), key=lambda file: (file.name != "common.cu", file.name))
    code = "\n".join(source.read_text(encoding="utf-8") for source in sources if source.name.endswith(".cu"))
    return cupy().RawModule(code=code, options=("-std=c++17",))


@cache
def kernel(name: str) -> Any:
    """One of them."""
    return module().get_function(name)


def each_row(name: str, rows: int, length: int, *args: Any) -> None:
    """Launch a row kernel: one block for each row, with about a thread for each number of the row."""
    if rows:
        kernel(name)((rows,), (min(max(-(-length // 32) * 32, 32), 1024),), tuple(map(checked, args)))


def each_number(name: str, numbers: int, *args: Any) -> None:
    """Launch a flat kernel."""
    if numbers:
        blocks = min(-(-numbers // THREADS), MOST_BLOCKS)
        kernel(name)((blocks,), (THREADS,), tuple(map(checked, args)))


def one_block(name: str, *args: Any) -> None:
    """Launch a kernel whose one block does everything."""
    kernel(name)((1,), (THREADS,), tuple(map(checked, args)))


def each_column(name: str, columns: int, chunks: int, *args: Any) -> None:
    """Launch a kernel with a block of 32 x 8 threads for 32 columns of each chunk of rows."""
    kernel(name)((-(-columns // 32), chunks), (32, 8), tuple(map(checked, args)))


def each_tile(name: str, rows: int, columns: int, *args: Any) -> None:
    """Launch a kernel with a block of 32 x 8 threads for 32 columns of each row."""
    if rows and columns:
        kernel(name)((rows, -(-columns // 32)), (32, 8), tuple(map(checked, args)))


def checked(x: Any) -> Any:
    """An argument as a kernel reads it: an array stored row by row, a number of NumPy's types, 0 for no array."""
    if x is None:
        return np.uint64(0)
    if isinstance(x, np.generic):
        return x
    if isinstance(x, np.ndarray | int | float) or not hasattr(x, "flags"):
        raise TypeError(f"a kernel was given {type(x)}: only device arrays and NumPy's scalars may be")
    if not x.flags.c_contiguous:
        raise TypeError(f"a kernel was given an array of shape {x.shape} that is not stored row by row")
    return x


def contiguous(x: Array) -> Array:
    """x stored row by row."""
    return x if x.flags.c_contiguous else array_module(x).ascontiguousarray(x)


def rows_of(x: Array) -> tuple[int, int]:
    """(number of rows, their length) of an array seen as a matrix."""
    return (x.size // x.shape[-1] if x.shape[-1] else 0), x.shape[-1]
