"""`install()`, before anything imports cupy: then `import cupy` is the real CuPy, on a device made of host memory.

CuPy's modules reach the CUDA runtime and driver through C functions that two of them export in `__pyx_capi__`, and
that the others look up when they are imported. So the entries are replaced before that. Kernels, those that CuPy
writes and our own, are compiled by g++ instead of NVRTC. libcublas is loaded already, and is not NVIDIA's.
"""

import ctypes
import importlib
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from ..cuda_on_cpu import simulator
from . import build

TYPES = {"int": ctypes.c_int, "unsigned int": ctypes.c_uint, "intptr_t": ctypes.c_ssize_t, "size_t": ctypes.c_size_t,
         "float": ctypes.c_float, "PyObject *": ctypes.py_object}
COMPLEX = "#include <cupy/complex.cuh>\n"  # which needs the headers of a CUDA toolkit


class Built(NamedTuple):
    """A kernel source that this process compiled."""

    source: str
    options: tuple[str, ...]
    instances: tuple[str, ...] | None


built: list[Built] = []
_signatures: list[bytes] = []  # capsules keep only a pointer to theirs


def install() -> None:
    """Raises RuntimeError when something is missing, or it is too late."""
    if reason := build.missing():
        raise RuntimeError(reason)
    if "cupy" in sys.modules:
        raise RuntimeError("cupy is imported already: install the stand-in for the driver before")
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB's reductions are compiled for GPUs; CuPy's own are source
    library = build.library()
    for name in ("driver", "runtime"):
        _replace(importlib.import_module(f"cupy_backends.cuda.api.{name}"), library, f"{name}_")
    _redirect_searches()
    import cupy
    from cupy.cuda import compiler
    compiler._compile_module_with_cache = _compile
    cupy.cuda.set_allocator(_unpooled)
    for name in cupy.random.__dict__:
        if callable(getattr(cupy.random, name)):
            setattr(cupy.random, name, _refused(f"cupy.random.{name}"))


def _replace(module: ModuleType, library: ctypes.PyDLL, prefix: str) -> None:
    """Put the library's functions in the place of the module's, for C callers and for Python ones."""
    new, signature_of = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetName
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    signature_of.restype, signature_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    exported: dict[str, Any] = module.__pyx_capi__
    for name, capsule in list(exported.items()):
        if (function := getattr(library, prefix + name, None)) is not None:
            _signatures.append(signature_of(capsule))
            exported[name] = new(ctypes.cast(function, ctypes.c_void_p).value, _signatures[-1], None)
            setattr(module, name, _for_python(function, _signatures[-1].decode()))


def _redirect_searches() -> None:
    """CuPy looks for libcublas, which is here already, and for CUDA's headers, which g++ does without."""
    from cuda import pathfinder
    load, headers = pathfinder.load_nvidia_dynamic_lib, pathfinder.find_nvidia_header_directory
    pathfinder.load_nvidia_dynamic_lib = lambda name: None if name.startswith("cublas") else load(name)
    pathfinder.find_nvidia_header_directory = lambda name: headers(name) or str(simulator.HEADER.parent)


def _for_python(function: Any, signature: str) -> Callable[..., Any]:
    """A C function of this signature as Python calls it, without Cython's own arguments at the end."""
    matched = re.fullmatch(r"(.*?)\s*\((.*)\)", signature)
    assert matched is not None
    parameters = [p.strip() for p in matched[2].split(",")]
    own = [TYPES[p] for p in parameters if p in TYPES]
    hidden = [ctypes.c_void_p if "optional_args" in p else ctypes.c_int
              for p in parameters if "skip_dispatch" in p or "optional_args" in p]
    function.restype, function.argtypes = TYPES[matched[1].strip()], [*own, *hidden]
    nothing = [None if kind is ctypes.c_void_p else 0 for kind in hidden]
    return lambda *args: function(*args[:len(own)], *nothing)


def _compile(source: str, options: tuple[str, ...] = (), *, name_expressions: Any = None, **_: Any) -> Any:
    """What cupy.cuda.compiler._compile_module_with_cache does, by g++."""
    import cupy
    from cupy._core import core
    from cupy.cuda import function
    instances = None if name_expressions is None else tuple(name_expressions)
    plain = source.replace(COMPLEX, "#include <complex>\nusing std::complex;\n" if "complex<" in source else "")
    flags = [option for option in options if option.startswith(("-I", "-D"))]
    flags += [f"-I{core._get_header_dir_path()}", f"-DHEADERS_OF_CUPY={cupy.__version__}"]
    path, symbols = simulator.build(plain, instances or (), tuple(flags))
    built.append(Built(source, tuple(options), instances))
    module = function.Module()
    module.load(str(path).encode() + b"\0")
    module._set_mapping(None if instances is None else symbols)
    return module


def _unpooled(size: int) -> Any:
    """Memory of its own for every array, so that guards stand where arrays end, and `empty` holds NaN."""
    import cupy
    return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{name} runs kernels that CuPy ships compiled for GPUs: not on the stand-in")
    return refuse
