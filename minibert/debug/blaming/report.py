"""What `blame` found, for people: which operation, where, with which numbers, and why."""

import os
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.blaming.causes import cause_of
from minibert.debug.blaming.evidence import (
    POINTWISE,
    ROWS,
    Evidence,
    Index,
    backward_values,
    bad_places,
    forward_values,
    holds,
    is_finite,
    limit,
    operand_text,
)
from minibert.debug.execution import BackwardStep, Execution, input_name
from minibert.debug.formulas import as_mathml, as_text
from minibert.debug.html import FONT, html_table, span
from minibert.debug.show import width
from minibert.graph import Node, Source
from minibert.tensor import Tensor


@dataclass(frozen=True)
class Blame:
    """The answer of `blame`.

    kind: "nan" (or infinity), "explosion", "nothing".  phase: "leaf" when it was broken before this step, "forward",
    "backward".  node: the operation, or the leaf.  indices: the first bad numbers of its output or gradient.
    cause: why, in words.  rows: (what, text) for everything else.
    """

    kind: str
    phase: str
    node: Source
    title: str
    cause: str
    indices: tuple[Index, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    formula: str = ""  # LaTeX

    def __str__(self) -> str:
        columns = width()
        rows = [("because", self.cause), *self.rows]
        rows += [("formula", as_text(self.formula))] if self.formula else []
        indent = 2 + max(len(what) for what, _ in rows) + 2
        lines = [textwrap.fill(self.title, columns, break_long_words=False, break_on_hyphens=False)]
        for what, text in rows:
            lines.append(textwrap.fill(text, columns, initial_indent=f"  {what}".ljust(indent),
                                       subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        formula = f'<div style="margin:6px 8px">{as_mathml(self.formula)}</div>' if self.formula else ""
        head = span(self.title, "font-weight:bold")
        because = f'<div style="margin:6px 8px">{escape(self.cause)}</div>'
        return (f'<div style="{FONT};max-width:860px"><div style="margin:6px 8px">{head}</div>{because}'
                f'{html_table(self.rows, styles=[("white-space:nowrap", "")] * len(self.rows))}{formula}</div>')


def forward_report(execution: Execution, node: Node, masked: bool) -> Blame:
    """The output of `node` is bad, and what it was given is not (or `masked`)."""
    y = to_host(execution.values[node])
    indices = bad_places(y, masked) or bad_places(y)
    values = forward_values(execution, node)
    cause = cause_of(Evidence(node, values, y, indices[0]))
    rows = [*place_rows(node), ("output", f"{tuple(np.shape(y))}: {holds(y, masked)}"),
            *_operands(node, values, np.shape(y), indices[0], by_row=True)]
    return Blame("nan", "forward", node, f"The forward pass breaks at {execution.name(node)}.", cause, tuple(indices),
                 tuple(rows), node.op.formula)


def backward_report(execution: Execution, step: BackwardStep, i: int, dx: Array) -> Blame:
    """The gradient that `step` computed for input number i is bad, and the one that came in is not."""
    node, indices, dx = step.node, bad_places(dx), to_host(dx)
    wanted = input_name(node, i) if i >= 0 else "a parameter"
    values = backward_values(execution, node, step.dy)
    cause = cause_of(Evidence(node, values, dx, indices[0], wanted))
    if not is_finite(execution.values[node]):
        cause += (f"; the output of {node.op.name} held {holds(execution.values[node])}: the forward pass hid it, and "
                  f"the backward pass meets it again")
    gradient = (f"for {wanted}", f"{tuple(np.shape(dx))}: {holds(dx)}")
    rows = [*place_rows(node), gradient, *_operands(node, values, np.shape(dx), indices[0], by_row=False)]
    title = f"The forward pass is finite; the backward pass breaks at {execution.name(node)}."
    return Blame("nan", "backward", node, title, cause, tuple(indices), tuple(rows), node.op.gradient)


def sum_report(execution: Execution, step: BackwardStep) -> Blame:
    """Finite gradients of the several uses of a value have an infinite sum."""
    node, indices = step.node, bad_places(step.dy)
    uses = [f"{execution.name(user)} ({input_name(user, i)})" for user, i in execution.uses[node]]
    cause = f"each of its {len(uses)} uses has a finite gradient, but their sum is above {limit(step.dy.dtype)}"
    rows = [*place_rows(node), ("gradient", f"{step.dy.shape}: {holds(step.dy)}"), ("used by", ", ".join(uses))]
    title = f"The forward pass is finite; the backward pass breaks where gradients of {execution.name(node)} meet."
    return Blame("nan", "backward", node, title, cause, tuple(indices), tuple(rows))


def leaf_report(execution: Execution, node: Node, x: Any) -> Blame:
    """`node` was given a parameter or a constant that is bad already."""
    array = execution.value(x, {})
    indices = bad_places(array)
    title = f"{_leaf_name(execution, node, x)} holds {holds(array)}: it was broken before this step."
    cause = "numbers that are not finite were in it before the forward pass began: look at what wrote them, such as " \
            "the optimiser's last step, a file, or the input"
    rows = [("first used by", execution.name(node)), *place_rows(node)]
    return Blame("nan", "leaf", x if isinstance(x, Tensor) else node, title, cause, tuple(indices), tuple(rows))


def _leaf_name(execution: Execution, node: Node, x: Any) -> str:
    if isinstance(x, Tensor) and x.requires_grad:
        return f"The parameter {execution.name(x)}"
    if isinstance(x, Tensor) and x.name:
        return f"The constant {x.name}"
    array = execution.value(x, {})
    name = next((name for name, value in forward_values(execution, node).items() if value is array), "")
    return f"The constant {name} of {execution.name(node)}" if name else f"A constant of {execution.name(node)}"


def place_rows(node: Node) -> list[tuple[str, str]]:
    """The lines that called the operation, innermost first."""
    rows: list[tuple[str, str]] = []
    for frame in reversed(node.forward_frame()):
        file = min(frame.filename, os.path.relpath(frame.filename), key=len)
        code = (frame.line or "").partition("  #")[0].rstrip()
        rows.append(("called at" if not rows else "from", f"{file}:{frame.lineno}  {code}".rstrip()))
    return rows


def _operands(node: Node, values: dict[str, Any], shape: tuple[int, ...], index: Index, by_row: bool
              ) -> list[tuple[str, str]]:
    """Floating-point operands, each with the number or the row that belongs to the bad number."""
    arrays = {name: x for name, x in values.items() if getattr(x, "dtype", np.dtype(bool)).kind == "f"}
    rows = ROWS.get(node.op.name, ()) if by_row else ()
    return [(name, operand_text(x, shape, index, name in rows, node.op.name in POINTWISE))
            for name, x in arrays.items()]
