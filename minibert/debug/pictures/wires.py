"""How the wires of a graph look: what they carry, and how large a gradient flows back through them."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.execution import Execution, Gradients, Use
from minibert.debug.formulas import as_text
from minibert.debug.pictures.nested import Item, Panel, Wire
from minibert.graph import Node, Source
from minibert.summary import number, shape_text

PLAIN, RESIDUAL, TIED = "#8c959f", "#2f6f9f", "#d4a72c"
WEAK, STRONG, BROKEN = (201, 214, 226), (181, 52, 44), "#d000d0"
DECADES = 4.0  # a gradient this many powers of ten below the largest is drawn as the weakest
COLOURS = {"embedding": ("#fdf3d8", "#d4a72c"), "attention": ("#e3effa", "#2f6f9f"),
           "feed-forward": ("#e6f4e7", "#3d8b48"), "sum": ("#f1f2f4", "#6e7781"), "head": ("#f3e8fa", "#8250a8"),
           "loss": ("#fbe3e1", "#b5342c"), "recompute": ("#fff1e5", "#bc6c25"), "other": ("#ffffff", "#6e7781"),
           "parameter": ("#ffffff", "#d4a72c")}


class Key(NamedTuple):
    """A line of the legend."""

    meaning: str
    colour: str
    width: float


@dataclass
class Graph:
    """What is to be drawn."""

    title: str
    items: dict[Any, Item] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Scale:
    """From the size of a gradient to the look of a wire."""

    gradients: Gradients
    largest: float  # of the finite ones
    broken: bool = False  # whether there are others

    @classmethod
    def of(cls, execution: Execution) -> Self:
        """The gradients of a whole graph."""
        gradients = execution.backward()
        terms = list(gradients.terms.values())
        sizes = [rms(x) for x in [x for x in terms if x.size > 1] or terms]  # that of a loss is 1, always
        finite = [size for size in sizes if math.isfinite(size)]
        return cls(gradients, max(finite, default=0.0), len(finite) < len(sizes))

    def size(self, uses: list[Use]) -> float:
        """The root mean square of what these uses of one value add to its gradient."""
        terms = [self.gradients.terms[use] for use in uses if use in self.gradients.terms]
        return rms(sum(terms[1:], terms[0])) if terms else 0.0

    def look(self, size: float) -> tuple[str, float]:
        """Colour and width, by the logarithm of the size."""
        if not math.isfinite(size):
            return BROKEN, 4.0
        ratio = min(size / self.largest, 1.0) if self.largest > 0.0 else 0.0
        strength = max(1.0 + math.log10(ratio) / DECADES, 0.0) if ratio > 0.0 else 0.0
        colour = "#" + "".join(f"{round(a + (b - a) * strength):02x}" for a, b in zip(WEAK, STRONG, strict=True))
        return colour, 0.8 + 3.2 * strength

    def legend(self) -> list[Key]:
        """The strongest, a middle and the weakest wire."""
        steps = [self.largest * 10.0 ** -power for power in (0.0, DECADES / 2, DECADES)]
        words = [f"rms of the gradient {number(steps[0])}", number(steps[1]), f"{number(steps[2])} or less"]
        keys = [Key(meaning, *self.look(size)) for meaning, size in zip(words, steps, strict=True)]
        return [*keys, Key("NaN or infinite", *self.look(math.nan))] if self.broken else keys


def wire(source: Any, target: Any, uses: list[Use], scale: Scale | None, title: str, colour: str = PLAIN) -> Wire:
    """A wire for these uses of a value, as strong as their gradient if there is a scale."""
    if scale is None:
        return Wire(source, target, title, colour, 1.2 if colour == PLAIN else 2.0)
    size = scale.size(uses)
    return Wire(source, target, f"{title}\nrms of the gradient {number(size)}", *scale.look(size))


def about(execution: Execution, x: Source, scale: Scale | None = None) -> str:
    """The tooltip of a value: its name and shape, the formulas of its operation, and its line."""
    parts = [execution.name(x), f"{shape_text(x.shape)} {x.dtype}"]
    if isinstance(x, Node):
        parts += [as_text(x.op.formula), as_text(x.op.gradient), x.line]
    if scale is not None and x in scale.gradients.of:
        parts.append(f"rms of the gradient {number(rms(scale.gradients.of[x]))}")
    return "\n".join(parts)


def rms(x: Array) -> float:
    """Root mean square, in float64."""
    return float(np.sqrt(np.mean(np.square(np.asarray(to_host(x), np.float64))))) if np.size(x) else 0.0
