"""One stop of the step debugger: an operation, in the forward or in the backward pass, with all its numbers."""

import inspect
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, is_array
from minibert.debug.execution import Execution, input_name
from minibert.debug.stepping.backward import Contribution, Handed, read_only
from minibert.debug.stepping.view import View
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.ops.registry import Op

FORWARD, BACKWARD = "forward", "backward"
INPUT, OUTPUT = "input", "output"  # what a value is in the forward pass
INCOMING, SAVED, ADDED, BEFORE, AFTER = "incoming", "saved", "added", "before", "after"  # and in the backward pass
LONGEST = 60  # letters of a setting that are shown


class Value(NamedTuple):
    """One array of an event: its name in the operation, the numbers, what it is, and where it is from or goes to."""

    label: str
    array: Array
    role: str
    note: str = ""


@dataclass(frozen=True, repr=False)
class Event:
    """Stop `number` of `count`: `node` in the `phase` "forward" or "backward".

    `event["q"]` is an array by its name: an input or the output; in the backward pass the incoming gradient
    "dcontext", what backward uses ("probs"), and what it adds ("dq"). `added` has the accumulators.
    Two events are equal when they are the same stop of the same graph.
    """

    phase: str
    number: int
    count: int
    node: Node
    name: str = field(compare=False)  # unique in its graph
    shapes: str = field(compare=False)  # the real ones, as op.shapes has the symbolic ones
    settings: tuple[str, ...] = field(compare=False)  # "p = 0.1": what the operation was called with besides arrays
    values: tuple[Value, ...] = field(compare=False)
    added: tuple[Contribution, ...] = field(compare=False)
    view: View = field(compare=False)

    def __getitem__(self, label: str) -> Array:
        for value in self.values:
            if value.label == label:
                return value.array
        raise InputError(f"there is no {label!r} here: choose one of {', '.join(v.label for v in self.values)}")

    @property
    def formula(self) -> str:
        """LaTeX: what the operation computes in this phase."""
        return self.node.op.formula if self.phase == FORWARD else self.node.op.gradient

    @property
    def not_finite(self) -> list[str]:
        """The names of the arrays that hold a NaN or an infinity."""
        return [value.label for value in self.values if not is_finite(value.array)]

    @property
    def norm(self) -> float:
        """The largest norm of what is computed here: the output, or any gradient; NaN only where all are."""
        roles = {OUTPUT, INCOMING, ADDED, AFTER}
        norms = [float(np.linalg.norm(v.array.astype(np.float64))) for v in self.values if v.role in roles]
        return max(norms, key=lambda norm: -1.0 if norm != norm else norm)

    def __repr__(self) -> str:
        return f"<step {self.number} of {self.count}: {self.phase} {self.name}>"

    def __str__(self) -> str:
        from minibert.debug.stepping.text import event_lines

        return "\n".join(line.text for line in event_lines(self))

    def _repr_html_(self) -> str:
        from minibert.debug.stepping.html import event_html

        return event_html(self)


def is_finite(array: Array) -> bool:
    """Whether it holds no NaN and no infinity."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def output_name(op: Op) -> str:
    """What the operation calls its result, as its shapes do."""
    found = re.search(r"-> (\w+)", op.shapes)
    return found[1] if found else "y"


def source_name(execution: Execution, x: Source) -> str:
    """A name for where a value comes from; one that is not differentiated may have none."""
    if isinstance(x, Node) or x in execution.values:
        return execution.name(x)
    return x.name or ("a parameter" if x.requires_grad else "constant")


def forward_values(execution: Execution, node: Node) -> tuple[list[Value], list[str]]:
    """The arrays an operation was called with, and its result; and all other arguments, as text."""
    names = list(inspect.signature(node.op.forward).parameters)
    values, settings = [], []
    for i, (x, argument) in enumerate(zip(node.args, execution.arguments(node), strict=True)):
        label = f"{names[0]}[{i}]" if node.op.variadic else names[i]
        if is_array(argument):
            note = f"from {source_name(execution, x)}" if isinstance(x, Node) else (
                "constant" if is_array(x) else source_name(execution, x))
            values.append(Value(label, read_only(argument), INPUT, note))
        elif argument is not None:
            settings.append(f"{label} = {_described(argument)}")
    settings += [f"{name} = {_described(value)}" for name, value in node.hyper.items()]
    return [*values, Value(output_name(node.op), read_only(execution.values[node]), OUTPUT)], settings


def backward_values(execution: Execution, node: Node, handed: Handed) -> list[Value]:
    """The incoming gradient, what backward uses, and what it adds to whom."""
    total = len(handed.givers)
    note = f"complete: the sum of {total} contributions" if total > 1 else (
        "complete" if total else "the backward pass begins")
    values = [Value(f"d{output_name(node.op)}", handed.dy, INCOMING, note)]
    values += [Value(name, read_only(array), SAVED) for name, array in
               zip(node.op.saved, execution.saved[node], strict=False) if is_array(array)]
    for c in handed.added:
        label = f"d{input_name(node, c.i)}" if c.i >= 0 else f"d{source_name(execution, c.x)}"
        values.append(Value(label, c.dx, ADDED, _fork_rule(execution, node, c)))
        if c.before is not None:
            values += [Value(f"{label} before", c.before, BEFORE),
                       Value(f"{label} after", c.after, AFTER)]
    return values


def _fork_rule(execution: Execution, node: Node, c: Contribution) -> str:
    """Which contribution this is, of how many, to whom, and what was there before it."""
    uses = len(execution.uses.get(c.x, ()))
    recomputed = any("collect" in other.op.wants for other in execution.nodes)  # there may be uses inside
    total = f" of {uses}" if uses > 1 and not recomputed else ""
    name = source_name(execution, c.x)
    if not c.givers:
        return f"first contribution{total} to {name}"
    givers = ["this operation" if giver is node else execution.name(giver) for giver in c.givers]
    return f"contribution {len(givers) + 1}{total} to {name}, added to what {' and '.join(givers)} gave"


def _described(value: Any) -> str:
    """An argument that is no array, in a few words."""
    if is_array(value):
        return f"array {value.shape}"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        text = f"({', '.join(map(_described, value))})"
    else:
        text = getattr(value, "__qualname__", None) or repr(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST - 3] + "..."
