"""What this machine is."""

import contextlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minibert.backend import check_cuda, cupy

from .options import Options
from .page import Page

OTHERS = ("torch", "transformers", "jax", "nvidia-cublas", "nvidia-cuda-nvrtc", "cuda-pathfinder", "scipy")
QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,persistence_mode,mig.mode.current"


def environment(page: Page, options: Options) -> None:
    """Python, libraries, driver, GPU; and whether it computes at all."""
    page.table(("what", "version"), [("Python", platform.python_version()), ("system", platform.platform()),
                                     ("processor", f"{processor()}, {os.cpu_count()} cores"), *packages()])
    page.check(check_cuda(), "the GPU computes nothing")  # raises, with what to do
    page.sentence = "a GPU that computes"
    with page.checking("what the GPU is"):
        _gpu(page)
    page.verbatim(nvidia_smi())


def _gpu(page: Page) -> None:
    """The GPU, and the parts of CUDA."""
    xp = cupy()
    from cupy.cuda import cublas, device, nvrtc

    runtime, properties = xp.cuda.runtime, xp.cuda.runtime.getDeviceProperties(0)
    free, total = runtime.memGetInfo()
    name = properties["name"].decode()
    rows = [("GPU", name), ("compute capability", xp.cuda.Device().compute_capability),
            ("memory", f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"),
            ("the driver's CUDA", runtime.driverGetVersion()), ("CuPy's CUDA runtime", runtime.runtimeGetVersion()),
            *((key, properties[key]) for key in ("multiProcessorCount", "l2CacheSize", "memoryBusWidth", "ECCEnabled")
              if key in properties)]
    with contextlib.suppress(Exception):
        rows += [("cuBLAS", cublas.getVersion(device.get_cublas_handle())),
                 ("NVRTC", ".".join(map(str, nvrtc.getVersion())))]
    page.table(("what", "found"), [(what, str(found)) for what, found in rows])
    page.sentence = f"{name}, CuPy {version_of('cupy') or xp.__version__}, Python {platform.python_version()}"


def packages() -> list[tuple[str, str]]:
    """What is installed of that which matters."""
    from minibert.gpu_faults import cupy_packages

    names = ("minibert", "numpy", *cupy_packages(), *OTHERS)
    return [(name, version_of(name) or "not installed") for name in names]


def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> str:
    """As Linux calls it."""
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8")):
            return found[1]
    return platform.machine()


def nvidia_smi() -> str:
    """Driver, clocks and limits."""
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"], capture_output=True, timeout=20,
                              encoding="utf-8")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi: {error}"
    return done.stdout + done.stderr
