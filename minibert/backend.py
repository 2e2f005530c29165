"""The seam: which array library an array belongs to, and the two ways across.

Operations take their array module from their arguments, so the same formula runs wherever the arrays live.
`to_device` and `to_host` are the only ways between the CPU's memory and a GPU's, and with the CUDA twins of
operations the only code that knows CuPy, which is imported when the first array goes to a GPU.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibert import gpu_faults
from minibert.errors import InputError

Array = Any  # numpy.ndarray, or an array of a library that follows NumPy's interface
DEVICES = ("cpu", "cuda")
CHOICES = ("auto", *DEVICES)
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class OutOfMemory(InputError):
    """A GPU's memory, `total` bytes, is full."""

    def __init__(self, message: str, total: int) -> None:
        super().__init__(message)
        self.total = total


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
    """The same numbers on "cpu" or "cuda"; x itself when it is there.  "auto" as in `choose_device`.

    Raises InputError when there is no such device, or none that can be used.
    """
    if device not in DEVICES:
        device = choose_device(device)
    if device == device_of(x):
        return x
    return to_host(x) if device == "cpu" else cupy().asarray(x)


def beside(x: Any, like: Array) -> Any:
    """An array where `like` is, so that both can be in one operation; anything else as it is."""
    return to_device(x, device_of(like)) if is_array(x) else x


def choose_device(name: str) -> str:
    """"cpu" or "cuda"; for "auto", "cuda" where CuPy is installed and can compute on a GPU, and "cpu" elsewhere.

    Raises InputError for another name, and for "cuda", where it cannot be used, saying why.
    """
    if name not in CHOICES:
        raise InputError(f"there is no device {name!r}: choose one of {', '.join(CHOICES)}")
    if name == "cuda":
        check_cuda()
    elif name == "auto":
        try:
            name = "cuda" if _worth_importing() and check_cuda() else "cpu"
        except InputError:
            name = "cpu"
    return name


def check_cuda() -> bool:
    """True when a GPU computes what it is asked to.  Raises InputError, saying what keeps it from that."""
    xp = cupy()
    try:
        ones = xp.ones((2, 2), np.float32)
        (ones @ ones).sum().item()  # needs a compiler, cuBLAS and memory: any of them may be missing
    except MemoryError as error:
        raise out_of_memory(error) from error
    except Exception as error:
        raise InputError(gpu_faults.why_not_computing(error)) from error
    return True


def _worth_importing() -> bool:
    """Whether CuPy is here already, or is installed beside a driver: importing it takes a while."""
    if "cupy" in sys.modules:
        return True
    if importlib.util.find_spec("cupy") is None:
        return False
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def cupy() -> Any:
    """CuPy, where it is installed and finds a GPU.  Raises InputError, saying what is missing."""
    try:
        import cupy
        found = cupy.cuda.is_available()
    except Exception as error:  # what a damaged package raises may be anything
        raise InputError(gpu_faults.why_not_imported(error)) from error
    if not found:
        raise InputError(gpu_faults.why_no_device(cupy.cuda.runtime))
    return cupy


def gpu_name() -> str:
    """What decides how sums are rounded on the GPU: which one it is, CUDA and CuPy."""
    runtime, version = cupy().cuda.runtime, cupy().__version__
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    return f"{name}, CUDA {runtime.runtimeGetVersion()}, CuPy {version}"


@contextmanager
def room_on_gpu(advice: str) -> Iterator[None]:
    """Inside this block a full GPU raises OutOfMemory, with the amounts and with `advice`."""
    try:
        yield
    except MemoryError as error:
        if not type(error).__module__.startswith("cupy"):
            raise
        full = out_of_memory(error)
        raise OutOfMemory(f"{full}: {advice}", full.total) from error


def out_of_memory(error: MemoryError) -> OutOfMemory:
    """CuPy's OutOfMemoryError as one sentence, without what to do: how much was asked for, is in use, and is there."""
    free, total = cupy().cuda.runtime.memGetInfo()
    return OutOfMemory(gpu_faults.no_room(error, free, total), total)


def row_dots(x: Array, y: Array) -> Array:
    """sum(x y) over the last axis; where the library can, without ever storing the product."""
    xp = array_module(x)
    if hasattr(xp, "vecdot"):
        return xp.vecdot(x, y)
    return (x * y).sum(axis=-1)
