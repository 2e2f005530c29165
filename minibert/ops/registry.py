"""One entry for every operation: its pair, its formulas, and a reference as naive as the formula.

Tests, documentation and debugging tools read this table. `forward(*inputs, **hyper)` returns `(y, saved)`;
`backward(dy, *saved)` returns the gradients of `inputs`, in order. A backward that touches only a few rows of a
large table also takes `into`, an array to add to instead of a new one full of zeros.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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


def register(op: Op) -> None:
    """Add `op` under its forward function's name, once."""
    if op.name in REGISTRY:
        raise ValueError(f"operation {op.name!r} is registered twice")
    REGISTRY[op.name] = op
