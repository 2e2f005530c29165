"""What the GPU's compiler made of our kernels: warnings, registers, spills, occupancy."""

import io
import re
from importlib.resources import files
from typing import Any

from minibert.ops.cuda import launcher

from .options import Options
from .page import Page, Skip

DECLARED = re.compile(r'extern "C" __global__ void\s+(\w+)\s*\(')
WARPS = 64  # of a multiprocessor, from compute capability 8.0 on (8.6 and 8.9: 48)
ATTRIBUTES = ("num_regs", "local_size_bytes", "shared_size_bytes", "max_threads_per_block")


def kernel_names() -> list[str]:
    """Of all kernels in the package."""
    sources = files("minibert.ops.cuda").joinpath("kernels").iterdir()
    return sorted(name for file in sources for name in DECLARED.findall(file.read_text(encoding="utf-8")))


def compiled(page: Page, options: Options) -> None:
    """Spills and warnings are shown, and fail nothing."""
    from cupy.cuda import driver

    rows: list[list[Any]] = []
    for name in kernel_names():
        with page.checking(name):
            kernel = launcher.kernel(name)
            numbers = [kernel.attributes[attribute] for attribute in ATTRIBUTES]
            blocks = driver.occupancyMaxActiveBlocksPerMultiprocessor(kernel.kernel.ptr, launcher.THREADS, 0)
            rows.append([name, *numbers, blocks, blocks * launcher.THREADS / 32 / WARPS])
            page.held += 1
    page.table(("kernel", "registers", "local bytes", "shared bytes", "most threads a block", "blocks at once",
                "share of 64 warps"), rows)
    page.note(f"Local bytes are spilled registers, or arrays that did not fit. Blocks at once: of {launcher.THREADS} "
              f"threads, on one multiprocessor.")
    _warnings(page)
    spilled = [row[0] for row in rows if row[2]]
    page.sentence = f"{len(rows)} kernels, {len(spilled)} of them with local memory"


def _warnings(page: Page) -> None:
    """What NVRTC says of the sources, compiled anew."""
    from cupy.cuda import compiler

    log, module = io.StringIO(), launcher.module()
    with page.checking("NVRTC"):
        try:
            compiler.compile_using_nvrtc(module.code, ("-std=c++17", "-ftz=true"), log_stream=log)
        except Exception as error:
            if type(error).__name__ != "DynamicLibNotFoundError":
                raise
            raise Skip("NVRTC is not installed") from error
    page.note("NVRTC's warnings:")
    page.verbatim(log.getvalue() or "none")
