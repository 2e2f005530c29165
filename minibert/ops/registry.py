"""One entry for every operation: its pair, its formulas, and a reference as naive as the formula.

Tests, documentation and debugging tools read this table. `forward(*inputs, **hyper)` returns `(y, saved)`;
`backward(dy, *saved)` returns the gradients of `inputs`, in order. A backward that touches only a few rows of a
large table also takes `into`, an array to add to instead of a new one full of zeros.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from minibert.backend import device_of, is_array

EXTRA = ("into",  # a gradient of the first input, to add to instead of to new zeros
         "collect")  # what the running backward pass does with the gradients of leaves


@dataclass(frozen=True)
class Op:
    """What is known about one operation."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[str, ...]  # the differentiable inputs, in the order in which backward returns gradients
    formula: str  # LaTeX, in the notation of minibert.debug.formulas; tests hold the code against it
    gradient: str  # likewise
    shapes: str
    reference: Callable[..., Any]  # float64, loops where the formula has sums: the meaning of `forward`
    source: str = ""
    variadic: bool = False  # the single name in `inputs` stands for any number of inputs
    notation: Mapping[str, str] = field(default_factory=dict, hash=False)  # names in the code -> LaTeX, if others
    kinks: str = ""  # where there is no derivative (or no value), and what the code gives there

    @property
    def name(self) -> str:
        """The forward function's own name."""
        return self.forward.__name__

    @property
    def output(self) -> str:
        """The name of the result, which `shapes` tells."""
        return self.shapes.partition("-> ")[2].split()[0]

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Where the differentiable inputs stand among forward's arguments (not for a variadic operation)."""
        parameters = list(inspect.signature(self.forward).parameters)
        return tuple(parameters.index(name) for name in self.inputs)

    @property
    def saved(self) -> tuple[str, ...]:
        """What backward needs, in order: its parameters after the incoming gradient."""
        return tuple(name for name in inspect.signature(self.backward).parameters if name not in EXTRA)[1:]

    @cached_property
    def wants(self) -> frozenset[str]:
        """What backward takes from the graph beyond `saved`, by name: see EXTRA."""
        return frozenset(EXTRA) & set(inspect.signature(self.backward).parameters)


REGISTRY: dict[str, Op] = {}
TWINS: dict[str, Op] = {}  # CUDA twins, under the names of their operations


class Preference(threading.local):
    """What a thread computes in."""

    twins = True  # CUDA twins, where there are any for its arrays


preference = Preference()


@contextmanager
def plain_formulas() -> Iterator[None]:
    """Inside this block (and thread) operations on a GPU compute their formulas with CuPy, not in CUDA kernels."""
    before, preference.twins = preference.twins, False
    try:
        yield
    finally:
        preference.twins = before


def register(op: Op) -> None:
    """Add `op` under its forward function's name, once."""
    if op.name in REGISTRY:
        raise ValueError(f"operation {op.name!r} is registered twice")
    REGISTRY[op.name] = op


def add_twin(forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
    """Give the operation of forward's name a pair that computes the same in CUDA kernels."""
    TWINS[forward.__name__] = replace(REGISTRY[forward.__name__], forward=forward, backward=backward)


def operation(name: str, arrays: Sequence[Any]) -> Op:
    """The operation `name` for these arguments: its CUDA twin for float32 arrays on a GPU, where it has one."""
    if isinstance(arrays[0], np.ndarray | np.generic) or not is_array(arrays[0]) or not kernels_take(arrays):
        return REGISTRY[name]
    _load_twins()
    return TWINS.get(name, REGISTRY[name])


def kernels_take(arrays: Sequence[Any]) -> bool:
    """Whether CUDA kernels compute with these arrays: float32 numbers on a GPU, and nobody has asked for formulas."""
    return preference.twins and all(x.dtype == np.float32 and device_of(x) != "cpu"
                                       for x in arrays if is_array(x) and x.dtype.kind == "f")


def formula_of(op: Op) -> Op:
    """The operation that `op` is the CUDA twin of; any other one itself."""
    twin = TWINS.get(op.name)
    return REGISTRY[op.name] if twin is not None and op.forward is twin.forward else op


@cache
def _load_twins() -> None:
    """Import them now that an array is on a GPU, and not before."""
    import minibert.ops.cuda.twins  # noqa: F401
