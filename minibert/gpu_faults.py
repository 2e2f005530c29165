"""Why CuPy cannot compute on a GPU here, and what to do about it: one sentence for each cause.

Nothing here imports CuPy: what it said, or its modules, come as arguments.
"""

import os
import re
from importlib.metadata import distributions
from typing import Any

NO_CUPY = "computing on a GPU needs CuPy: pip install 'minibert[gpu]'"
PACKAGE = re.compile(r"(amd-)?cupy(-cuda\w+|-rocm[\w.-]*)?", re.IGNORECASE)  # as CuPy's distributions are called
LIBRARY = re.compile(r"\b(?:lib)?(cublasLt|cublas|nvrtc|cudart|nvJitLink|curand|cusolver|cusparse|cufft)"
                     r"(?:\.so[.\d]*|[\w-]*\.dll)")
INSUFFICIENT_DRIVER, NO_DEVICE = "cudaErrorInsufficientDriver", "cudaErrorNoDevice"
OF_THE_GPU = ("cudaError", "CUDA_ERROR", "CUBLAS_STATUS")  # what its driver and libraries answer
GIB = 1 << 30


def cupy_packages() -> list[str]:
    """The installed distributions of CuPy, of which there should be one."""
    names = {distribution.metadata["Name"] or "" for distribution in distributions()}
    return sorted(name for name in names if PACKAGE.fullmatch(name))


def why_not_imported(error: BaseException) -> str:
    """For an import of CuPy that ended in `error`."""
    packages = cupy_packages()
    if not packages:
        return NO_CUPY
    return _several(packages) or why_not_computing(error)


def why_no_device(runtime: Any) -> str:
    """For a CuPy that finds no device.  runtime: cupy.cuda.runtime."""
    driver = runtime.driverGetVersion()
    if driver == 0:
        return ("CuPy is installed, but there is no NVIDIA driver (libcuda): install one, until `nvidia-smi` lists the "
                "GPU, or compute on the cpu")
    try:
        count, said = runtime.getDeviceCount(), ""
    except runtime.CUDARuntimeError as error:
        count, said = 0, str(error)
    if said.startswith(INSUFFICIENT_DRIVER):
        return _several(cupy_packages()) or _old_driver(driver, runtime.runtimeGetVersion())
    if said and not said.startswith(NO_DEVICE):
        return f"CUDA cannot be used ({said}): does `nvidia-smi` work, and does it after a restart?"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None or count else f"; CUDA_VISIBLE_DEVICES is {visible!r}, which may hide it"
    return f"the NVIDIA driver finds no GPU: is there one, and does `nvidia-smi` list it{hidden}?"


def why_not_computing(error: BaseException) -> str:
    """For a CuPy that finds a GPU, and fails at the first thing that it is to compute there."""
    package = next(iter(cupy_packages()), "cupy")
    words = str(error)
    if library := LIBRARY.search(words):
        return (f"CuPy cannot load {library[0]}, a part of CUDA: pip install '{package}[ctk]', or install NVIDIA's "
                f"CUDA toolkit")
    if "CUDA headers" in words:
        return f"CuPy cannot find CUDA's headers: pip install '{package}[ctk]', or install NVIDIA's CUDA toolkit"
    if "gpu-architecture" in words:
        return (f"this GPU is too old for the CUDA of {package}: pip uninstall {package} and pip install "
                f"'minibert[gpu-cuda12]'")
    lines = [line.strip() for line in words.splitlines() if line.strip(" =")]
    last = lines[-1] if lines else type(error).__name__
    if last.startswith(OF_THE_GPU):
        return f"the GPU does not compute ({last}): is it full, or taken by another process, which `nvidia-smi` lists?"
    return f"CuPy ({package}) is installed but broken ({last}): pip install --force-reinstall {package}"


def no_room(error: MemoryError, free: int, total: int) -> str:
    """For CuPy's OutOfMemoryError.  free, total: bytes, of the GPU."""
    found = re.search(r"allocating ([\d,]+) bytes \(allocated so far: ([\d,]+) bytes", str(error))
    more, mine = [in_words(int(number.replace(",", ""))) for number in found.groups()] if found else ("more", "memory")
    return (f"the GPU is out of memory: {more} were asked for, where this process holds {mine}, and {in_words(free)} "
            f"of the GPU's {in_words(total)} are free")


def in_words(size: int) -> str:
    """An amount of memory."""
    return f"{size / GIB:.1f} GiB" if size >= GIB // 10 else f"{size / (1 << 20):.1f} MiB"


def _several(packages: list[str]) -> str:
    """Of several packages only the files of the one installed last are there, until the other is removed."""
    if len(packages) < 2:
        return ""
    return (f"{' and '.join(packages)} are installed at once, and overwrite each other: pip uninstall "
            f"{' '.join(packages)}, then pip install 'minibert[gpu]', or 'minibert[gpu-cuda12]' for a driver of "
            f"CUDA 12")


def _old_driver(driver: int, runtime: int) -> str:
    """CUDA's versions are 1000 major + 10 minor; a driver serves every minor version of its major one."""
    has, needs = f"{driver // 1000}.{driver % 1000 // 10}", f"{runtime // 1000}.0"
    other = (", or pip uninstall cupy-cuda13x and pip install 'minibert[gpu-cuda12]', which is for drivers of CUDA 12"
             if driver // 1000 == 12 and runtime // 1000 == 13 else "")
    return f"the NVIDIA driver supports CUDA {has}, and the CuPy installed here needs {needs}: update the driver{other}"
