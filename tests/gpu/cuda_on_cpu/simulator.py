"""Builds CUDA source with g++ and runs its kernels on the CPU, on NumPy arrays.

    kernel = Module(source)["softmax"];  kernel(grid, block, (x, y, np.int32(n)))

The call is that of cupy.RawKernel. What a real launch would corrupt in silence is an exception here: a Python float
where a kernel takes a float (CuPy passes a double), an array of another dtype or not stored row by row, an access
outside an array made by `guarded`, a missing or divergent barrier.
"""

import ctypes
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
CACHE = Path(tempfile.gettempdir()) / f"cuda-on-cpu-{os.getuid()}"
KERNEL = re.compile(r"(template\s*<[^>]*>\s*)?(?:extern\s+\"C\"\s+)?__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?"
                    r"void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
WAITS = re.compile(r"__sync(threads|warp)|__shfl|__(ballot|any|all)_sync")
DYNAMIC = re.compile(r"extern\s+__shared__\s+(\w+)\s+(\w+)\s*\[\s*\]\s*;")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", "-fno-gnu-unique")
SCHEDULES = ("forward", "reverse", "shuffled", "greedy")
PAGE = mmap.PAGESIZE


class KernelError(RuntimeError):
    """A kernel did what no kernel may."""


def build(source: str, instances: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> tuple[Path, dict[str, str]]:
    """Compile, once for each source: the shared object, and the symbol of each kernel, or instance of a template."""
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), source, flags=re.S)
    symbols = {name: name for template, name in KERNEL.findall(plain) if not template}
    symbols |= {instance: f"instance_{i}" for i, instance in enumerate(instances)}
    plain = DYNAMIC.sub(r"\1* \2 = (\1*)simulator::dynamic_shared;", plain)
    flags = (*FLAGS, f"-DWAITS={int(bool(WAITS.search(plain)))}", *flags)
    plain += "\n".join(["", *(f"SIMULATOR_EXPORT({symbol}, {name})" for name, symbol in symbols.items()), ""])
    key = hashlib.sha256(repr((plain, flags, HEADER.read_text(encoding="utf-8"))).encode()).hexdigest()[:24]
    CACHE.mkdir(parents=True, exist_ok=True)
    library = CACHE / f"{key}.so"
    if not library.exists():
        written, made = CACHE / f"{key}.{os.getpid()}.cu", CACHE / f"{key}.{os.getpid()}.so"
        written.write_text(plain, encoding="utf-8")
        done = subprocess.run(["g++", *flags, "-include", str(header_for(flags)), "-x", "c++", str(written), "-o",
                               str(made)], capture_output=True, encoding="utf-8")
        written.unlink()
        if done.returncode:
            raise KernelError(f"g++ says: {done.stderr[:2000]}")
        made.replace(library)
    return library, symbols


def header_for(flags: tuple[str, ...]) -> Path:
    """A copy of the header, parsed once for these flags: g++ reads the .gch beside it instead, in half the time."""
    key = hashlib.sha256(repr((flags, HEADER.read_text(encoding="utf-8"))).encode()).hexdigest()[:24]
    header, parsed = CACHE / f"{key}.h", CACHE / f"{key}.h.gch"
    if not parsed.exists():
        copy, made = CACHE / f"{key}.{os.getpid()}.h", CACHE / f"{key}.{os.getpid()}.gch"
        copy.write_text(HEADER.read_text(encoding="utf-8"), encoding="utf-8")
        copy.replace(header)
        done = subprocess.run(["g++", *flags, "-x", "c++-header", str(header), "-o", str(made)], capture_output=True)
        if done.returncode == 0:
            made.replace(parsed)
    return header


class Module:
    """Kernels by name."""

    def __init__(self, source: str) -> None:
        path, symbols = build(source)
        self.names = list(symbols)
        self._library = ctypes.CDLL(str(path))

    def __getitem__(self, name: str) -> "Kernel":
        return Kernel(self._library, name)

    @contextmanager
    def schedule(self, name: str, seed: int = 0) -> Iterator[None]:
        """In this block threads run in another order, one of SCHEDULES."""
        self._library.simulator_schedule(SCHEDULES.index(name), seed)
        try:
            yield
        finally:
            self._library.simulator_schedule(0, 0)


class Kernel:
    """One kernel, called as cupy.RawKernel is."""

    def __init__(self, library: Any, name: str) -> None:
        self.name, self._run, self._message = name, getattr(library, f"launch_{name}"), library.simulator_message
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        self._message.restype = ctypes.c_char_p
        signature = getattr(library, f"signature_{name}")
        signature.restype = ctypes.c_char_p
        self.parameters = signature().decode().split(";")[:-1]

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...],
                 shared_mem: int = 0) -> None:
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, not {len(args)}")
        values = [self._value(i, x) for i, x in enumerate(args)]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        sizes = [(ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block)]
        if self._run(*sizes, shared_mem, pointers):
            raise KernelError(f"{self.name}: {self._message().decode()}")

    def _value(self, i: int, x: Any) -> np.ndarray:
        """Argument i as the bytes that a launch copies: a number, or the address of an array."""
        wanted = self.parameters[i]
        if x is None and wanted[0] == "*":
            return np.array(0, np.uintp)
        if isinstance(x, np.ndarray):
            kind = f"*{x.dtype.kind}{x.itemsize}"
            if kind != wanted:
                raise TypeError(f"{self.name}, argument {i}: the kernel takes {wanted}, and the array is {kind}")
            if not x.flags.c_contiguous:
                raise TypeError(f"{self.name}, argument {i}: the array is not stored row by row")
            return np.array(x.ctypes.data, np.uintp)
        number = np.asarray(x, dtype={float: np.float64, int: np.int64}.get(type(x)))  # what CuPy makes of them
        kind = f"{number.dtype.kind}{number.itemsize}"
        if kind != wanted:
            raise TypeError(f"{self.name}, argument {i}: the kernel takes {wanted}, and {x!r} is {kind}: wrap numbers "
                            f"in NumPy's types")
        return number


def guarded(x: np.ndarray, front: bool = False) -> np.ndarray:
    """A copy of x that ends (or, with `front`, begins) at a page that cannot be read or written."""
    x = np.ascontiguousarray(x)
    if x.size == 0:
        return x
    pages = -(-x.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, pages + 2 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for place in (base, base + PAGE + pages):
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), 0)
    offset = PAGE if front else PAGE + pages - x.nbytes
    copy = np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)
    copy[...] = x
    return copy
