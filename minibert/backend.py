"""The seam: which array library an array belongs to, and the two ways across.

Operations take their array module from their arguments, so the same formula runs wherever the arrays live.
`to_device` and `to_host` are the only ways between the CPU's memory and a GPU's, and with the CUDA twins of
operations the only code that knows CuPy, which is imported when the first array goes to a GPU.
"""

import sys
from typing import Any

import numpy as np

from minibert.errors import InputError

Array = Any  # numpy.ndarray, or an array of a library that follows NumPy's interface
DEVICES = ("cpu", "cuda")


def array_module(x: Array) -> Any:
    """The library `x` belongs to: `numpy` for NumPy's arrays, `cupy` for CuPy's."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def is_array(x: object) -> bool:
    """Whether `x` is an array of NumPy or of another library with NumPy's interface."""
    return isinstance(x, np.ndarray | np.generic) or (hasattr(x, "dtype") and hasattr(x, "__array_ufunc__"))


def device_of(x: Array) -> str:
    """"cpu" or "cuda"."""
    return "cpu" if isinstance(x, np.ndarray | np.generic) else "cuda"


def to_host(x: Array) -> Any:
    """The same numbers in NumPy's array; a GPU is waited for."""
    return x if isinstance(x, np.ndarray | np.generic) else x.get()


def to_device(x: Array, device: str) -> Array:
    """The same numbers on "cpu" or "cuda"; x itself when it is there.

    Raises InputError when there is no such device, or none that can be used.
    """
    if device not in DEVICES:
        raise InputError(f"there is no device {device!r}: choose one of {', '.join(DEVICES)}")
    if device == device_of(x):
        return x
    return to_host(x) if device == "cpu" else cupy().asarray(x)


def beside(x: Any, like: Array) -> Any:
    """An array where `like` is, so that both can be in one operation; anything else as it is."""
    return to_device(x, device_of(like)) if is_array(x) else x


def cupy() -> Any:
    """CuPy, where it is installed and finds a GPU.  Raises InputError, saying what is missing."""
    try:
        import cupy
    except ImportError as error:
        raise InputError("computing on a GPU needs CuPy: pip install 'minibert[gpu]'") from error
    if not cupy.cuda.is_available():
        raise InputError("CuPy finds no GPU: is there one, and does `nvidia-smi` list it? Its driver must be at least "
                         "as new as the CUDA that CuPy was built for")
    return cupy


def row_dots(x: Array, y: Array) -> Array:
    """sum(x y) over the last axis; where the library can, without ever storing the product."""
    xp = array_module(x)
    if hasattr(xp, "vecdot"):
        return xp.vecdot(x, y)
    return (x * y).sum(axis=-1)
