"""Builds the stand-in for the CUDA driver and cuBLAS; says what it needs. Imports no CuPy."""

import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..cuda_on_cpu.simulator import CACHE

HERE = Path(__file__).parent
SOURCES = (HERE / "driver.cpp", HERE / "blas.cpp")
VERSION = "14.2"  # of CuPy: the pointers that are replaced are no public interface
SYMBOLS = HERE / "cublas.map"
NOT_SUPPORTED = 15  # cublasStatus_t
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wno-missing-field-initializers",
         "-Wl,-soname,libcublas.so.13", f"-Wl,--version-script={SYMBOLS}")


def missing() -> str | None:
    """What the stand-in needs and this machine lacks, in one sentence; None when nothing is missing."""
    if sys.platform != "linux":
        return "the stand-in for a CUDA driver runs on Linux"
    for tool in ("g++", "nm"):
        if shutil.which(tool) is None:
            return f"the stand-in for a CUDA driver needs {tool}"
    try:
        found = version("cupy-cuda13x")
    except PackageNotFoundError:
        return f"the stand-in for a CUDA driver needs CuPy: pip install 'cupy-cuda13x=={VERSION}.*'"
    if not found.startswith(f"{VERSION}."):
        return f"the stand-in for a CUDA driver fits cupy-cuda13x {VERSION} only, and {found} is installed"
    return None


@cache
def library() -> ctypes.PyDLL:
    """The stand-in, compiled once for each state of its sources, and loaded as libcublas."""
    stubs = _stubs()
    sources = [path.read_text(encoding="utf-8") for path in (*SOURCES, HERE / "shared.h", SYMBOLS)]
    parts = [stubs, sys.implementation.cache_tag, *FLAGS, *sources]
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
    CACHE.mkdir(parents=True, exist_ok=True)
    built = CACHE / f"driver-{key}.so"
    if not built.exists():
        written, made = CACHE / f"stubs-{os.getpid()}.cpp", CACHE / f"driver-{os.getpid()}.so"
        written.write_text(stubs, encoding="utf-8")
        include = f"-I{sysconfig.get_paths()['include']}"
        subprocess.run(["g++", *FLAGS, include, *map(str, SOURCES), str(written), "-o", str(made)], check=True)
        written.unlink()
        made.replace(built)
    return ctypes.PyDLL(str(built), mode=ctypes.RTLD_GLOBAL)


def _stubs() -> str:
    """Every function of cuBLAS that CuPy links to and blas.cpp does not have: "not supported"."""
    spec = importlib.util.find_spec("cupy_backends")
    assert spec is not None and spec.origin is not None
    module = next(Path(spec.origin).parent.rglob("cublas.*.so"))
    symbols = subprocess.run(["nm", "-D", str(module)], capture_output=True, check=True, encoding="utf-8").stdout
    wanted = set(re.findall(r" U (cublas\w+)@", symbols))
    present = set(re.findall(r"\bint (cublas\w+)\(", (HERE / "blas.cpp").read_text(encoding="utf-8")))
    return "".join(f'extern "C" int {name}() {{ return {NOT_SUPPORTED}; }}\n' for name in sorted(wanted - present))
