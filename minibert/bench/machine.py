"""Which processor computes, with which BLAS, and whether that BLAS knows the processor."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

# OpenBLAS's kernels for x86 processors without AVX2, under the names that it reports.
OLD_KERNELS = {"Athlon", "Atom", "Banias", "Barcelona", "Bobcat", "Bulldozer", "Coppermine", "Core2", "Dunnington",
               "Katmai", "Nano", "Nehalem", "Northwood", "Opteron", "Opteron_SSE3", "Penryn", "Piledriver", "Prescott",
               "Sandybridge", "Steamroller", "Unknown"}
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # what makes OpenBLAS compute as if on another processor


@dataclass(frozen=True)
class Blas:
    """The library that multiplies matrices; `kernel` is the processor family that its code was chosen for."""

    library: str
    version: str
    kernel: str

    def __str__(self) -> str:
        named = " ".join(filter(None, (self.library, self.version)))
        return f"{named}, {self.kernel} kernel" if self.kernel else named


@dataclass(frozen=True)
class Machine:
    """What the numbers of a benchmark were measured on."""

    cpu: str
    blas: Blas
    warnings: list[str]

    def __str__(self) -> str:
        return f"{self.cpu}; {self.blas}"


def this_machine() -> Machine:
    """The machine, as far as it tells about itself."""
    blas = find_blas(threadpoolctl.threadpool_info())
    return Machine(cpu_name(), blas, kernel_warnings(blas, cpu_flags(), os.environ))


def find_blas(pools: Sequence[Mapping[str, Any]]) -> Blas:
    """The BLAS among threadpoolctl's libraries; where it knows none (Apple's), the one that NumPy was built with."""
    for pool in pools:
        if pool["user_api"] == "blas":
            name = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}.get(pool["internal_api"])
            return Blas(name or pool["internal_api"], pool.get("version") or "", pool.get("architecture") or "")
    built: Any = np.show_config(mode="dicts")
    return Blas(built["Build Dependencies"]["blas"]["name"], "", "")


def kernel_warnings(blas: Blas, flags: set[str], environment: Mapping[str, str]) -> list[str]:
    """Why matrix products are slower than they need to be; empty when nothing is wrong."""
    found = [f"{name}={environment[name]} is set and tells OpenBLAS which kernel to use: unset {name} to let it "
             f"choose the one for this processor" for name in OVERRIDES if environment.get(name)]
    newer = sorted(flags & {"avx2", "avx512f"})
    if blas.library == "OpenBLAS" and blas.kernel in OLD_KERNELS and newer:
        advice = "" if found else ": try a newer NumPy"
        found.append(f"OpenBLAS computes with its {blas.kernel} kernel, which makes no use of this processor's "
                     f"{' and '.join(newer)}{advice}")
    return found


def cpu_flags() -> set[str]:
    """The instruction sets of the processor, where /proc/cpuinfo names them."""
    return set(_cpuinfo("flags").split())


def cpu_name() -> str:
    """The processor's model name."""
    name = _cpuinfo("model name")
    if not name and platform.system() == "Darwin":
        name = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, check=False,
                              encoding="utf-8").stdout.strip()
    return name or platform.processor() or platform.machine() or "unknown processor"


def _cpuinfo(key: str) -> str:
    """The first value of `key` in /proc/cpuinfo; empty when there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
