"""All sections, the most important first."""

from importlib import import_module
from typing import Any, NamedTuple

from .options import Options
from .page import Page


class Section(NamedTuple):
    """name: on the command line, and with _ for -, of its function in `module`; seconds: how long it may take."""

    name: str
    module: str
    seconds: int
    title: str

    def run(self, page: Page, options: Options) -> None:
        function: Any = getattr(import_module(f"gpu.native.{self.module}"), self.name.replace("-", "_"))
        function(page, options)


SECTIONS = (
    Section("environment", "environment", 60, "This machine"),
    Section("twins", "operations", 150, "Our kernels beside the formulas"),
    Section("dropout", "operations", 30, "Dropout's bits are NumPy's"),
    Section("products", "products", 60, "Matrix products in every precision"),
    Section("model", "model", 120, "A whole model: loss and gradients"),
    Section("training", "training", 120, "Training: the CPU's numbers, the same bits, on from anywhere"),
    Section("waiting", "waiting", 90, "A step is asked for, and not waited for"),
    Section("command", "command", 240, "The command, as a user calls it"),
    Section("memory", "memory", 90, "Memory beside the ledger"),
    Section("compiled", "compiled", 60, "What the compiler made of the kernels"),
    Section("bandwidth", "bandwidth", 60, "Bandwidth of each kernel"),
    Section("bench", "bench", 240, "A training step beside PyTorch"),
    Section("sanitizer", "sanitizer", 240, "compute-sanitizer"),
    Section("formulas", "operations", 180, "The plain formulas with CuPy"),
)
HIDDEN = (Section("all-twins", "sanitizer", 60, "What the sanitizer runs"),)
