"""Which GPU computes, with which software."""

import re
from dataclasses import dataclass
from pathlib import Path

from minibert.backend import cupy

DRIVER = Path("/proc/driver/nvidia/version")  # where Linux tells the driver's own number


@dataclass(frozen=True)
class Gpu:
    """What the numbers of a benchmark were measured on."""

    name: str
    memory_mb: float  # MB of 10^6 bytes
    driver: str  # its own number; empty where the system does not tell
    driver_cuda: str  # the newest CUDA that the driver knows
    cuda: str  # that CuPy computes with
    cupy: str

    def __str__(self) -> str:
        number = f" {self.driver}" if self.driver else ""
        return (f"{self.name}, {self.memory_mb:,.0f} MB; driver{number} for CUDA up to {self.driver_cuda}, "
                f"CUDA {self.cuda}, CuPy {self.cupy}")


def this_gpu() -> Gpu:
    """The GPU that CuPy computes on.  Raises InputError when there is none."""
    xp = cupy()
    runtime = xp.cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    return Gpu(name, 1e-6 * runtime.memGetInfo()[1], driver_number(DRIVER), version(runtime.driverGetVersion()),
               version(runtime.runtimeGetVersion()), xp.__version__)


def version(number: int) -> str:
    """As CUDA counts: 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_number(file: Path) -> str:
    """The number of NVIDIA's driver, such as 550.54.15; empty where the file is missing or says something else."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", file.read_text(encoding="utf-8").partition("\n")[0])
    except OSError:
        return ""
    return found[0] if found else ""
