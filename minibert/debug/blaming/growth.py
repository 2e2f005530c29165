"""Where numbers grow: the root mean square of what comes out of an operation, beside that of what goes in.

    forward   rms(y) / rms(x), x the largest of the operation's inputs that were computed
    backward  rms(dx) / rms(dy)

A parameter counts as an input only where there is no other: a huge weight must not hide the growth it causes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.blaming.evidence import holds, is_finite, peak
from minibert.debug.blaming.report import Blame, place_rows
from minibert.debug.execution import Execution, input_name
from minibert.graph import Node, Source
from minibert.summary import number
from minibert.tensor import Tensor

STEEP = 1e4  # growth in one operation that is out of the ordinary: layers of a sound model stay below 100
HUGE = 1e8  # a root mean square that is out of the ordinary, however slowly it was reached


class Growth(NamedTuple):
    """One operation, one way.  wanted: the input whose gradient grew, and "" in the forward pass."""

    node: Node
    before: float
    after: float
    wanted: str = ""

    @property
    def factor(self) -> float:
        """How many times larger."""
        return self.after / self.before


def rms(x: Array) -> float:
    """Root mean square; scaled, so that squares cannot overflow."""
    x = np.asarray(to_host(x))
    finite = x[np.isfinite(x)].astype(np.float64)  # the rest is a mask
    largest = peak(finite)
    return largest * float(np.sqrt(np.square(finite / largest).mean())) if largest else 0.0


def forward_growth(execution: Execution) -> list[Growth]:
    """Of every operation with numbers other than 0 on both sides."""
    sizes = {source: rms(value) for source, value in execution.values.items()}
    found = []
    for node in execution.nodes:
        before = max((sizes[x] for x in _counted([x for x in node.inputs if x is not None])), default=0.0)
        if node.op.name == "sum":  # adding up many numbers is no growth of any of them
            before *= max(np.size(execution.value(node.args[0], {})) // max(np.size(execution.values[node]), 1), 1)
        found.append(Growth(node, before, sizes[node]))
    return [growth for growth in found if growth.before > 0.0 < growth.after]


def backward_growth(execution: Execution) -> list[Growth]:
    """Of every gradient that goes on to another operation, or to a leaf where there is no other."""
    return list(_backward(execution))


def _backward(execution: Execution) -> Iterator[Growth]:
    for node, dy, added in execution.backward_steps():
        before, counted = rms(dy), _counted([x for x, _, _ in added])
        for x, i, dx in added:
            after = rms(dx)
            if x in counted and before > 0.0 < after:
                yield Growth(node, before, after, input_name(node, i) if i >= 0 else "")


def _counted(inputs: list[Source]) -> list[Source]:
    return [x for x in inputs if isinstance(x, Node)] or inputs


def growth_report(execution: Execution) -> Blame:
    """All is finite: where do numbers grow most, and is it out of the ordinary?"""
    found = {"forward": forward_growth(execution), "backward": backward_growth(execution)}
    phase = max(found, key=lambda name: _alarm(found[name]))
    rows = [(name, _text(execution, _worst(growths))) for name, growths in found.items() if growths]
    rows += _hidden(execution)
    if _alarm(found[phase]) < 1.0:
        cause = (f"growth below {number(STEEP)} times in one operation, and numbers below {number(HUGE)}, are "
                 f"ordinary; the largest growth of each pass follows")
        return Blame("nothing", "", execution.root, "Nothing is wrong: the loss and every gradient are finite, and "
                     "nothing explodes.", cause, rows=tuple(rows))
    worst = _worst(found[phase])
    title = f"All is finite, but numbers explode in the {phase} pass, most of all at {execution.name(worst.node)}."
    op = worst.node.op
    return Blame("explosion", phase, worst.node, title, _cause(execution, worst, found[phase]),
                 rows=(*rows, *place_rows(worst.node)), formula=op.formula if phase == "forward" else op.gradient)


def _worst(growths: list[Growth]) -> Growth:
    return max(growths, key=lambda growth: growth.factor)


def _alarm(growths: list[Growth]) -> float:
    """At least 1 where growth is out of the ordinary."""
    return max((max(growth.factor / STEEP, growth.after / HUGE) for growth in growths), default=0.0)


def _cause(execution: Execution, worst: Growth, growths: list[Growth]) -> str:
    largest = max(growths, key=lambda growth: growth.after)
    leaves = [x for x in worst.node.inputs if isinstance(x, Tensor) and peak(to_host(x.data)) >= STEEP]
    if leaves:
        return f"{execution.name(leaves[0])}, one of its inputs, reaches {number(peak(to_host(leaves[0].data)))}"
    reached = f"a root mean square of {number(largest.after)} at {execution.name(largest.node)}"
    if worst.factor < STEEP:
        return f"no single operation is to blame: numbers grow step by step, to {reached}"
    return f"this one operation makes numbers {number(worst.factor)} times larger; the pass reaches {reached}"


def _text(execution: Execution, growth: Growth) -> str:
    gradient = f", gradient for {growth.wanted}" if growth.wanted else ""
    return (f"grows most at {execution.name(growth.node)}{gradient}: {number(growth.factor)} times, from a root mean "
            f"square of {number(growth.before)} to {number(growth.after)}")


def _hidden(execution: Execution) -> list[tuple[str, str]]:
    """The first value that is not finite, where it does no harm."""
    for source in execution.order:
        if not is_finite(execution.values[source]):
            return [("harmless", f"{execution.name(source)} holds {holds(execution.values[source])}, as a mask does: "
                                 f"neither the loss nor a gradient is touched by it")]
    return []
