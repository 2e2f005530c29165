"""`step`: walk through the forward and the backward pass of a loss."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minibert.debug.checking.gradcheck import GradientReport, Row, check_op
from minibert.debug.checking.twin import check_twin
from minibert.debug.execution import Execution, check_tensor, check_unchanged
from minibert.debug.stepping.backward import Backward, Contribution
from minibert.debug.stepping.event import BACKWARD, FORWARD, Event, backward_values, forward_values
from minibert.debug.stepping.until import Condition
from minibert.debug.stepping.view import CORNER, View, read_view
from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.graph import Node
from minibert.tensor import Tensor


def step(loss: Tensor, view: Any = CORNER) -> "Stepper":
    """Walk through the graph of a loss, a single number: every operation forward, then every one backward.

    view: which numbers of each array to show, such as "0, :4" or (0, slice(4)), where that fits its shape; by default
    a small corner.  Nothing is changed: not the graph, and no parameter's `grad`.
    Raises InputError when the loss is no single number, has no graph, or when one of its leaves has changed since.
    """
    return Stepper(loss, view)


class Stepper:
    """A place in the walk through a graph: it begins at the first operation, and `event` shows where it is.

    Iterating gives every event, from the first on, and does not move.
    All values and, as far as one has gone, all gradients are kept: see `Backward`.
    """

    def __init__(self, loss: Tensor, view: Any = CORNER) -> None:
        check_tensor(loss)
        if loss.size != 1:
            raise InputError(f"step walks through the gradient of a single number, and this tensor has shape "
                             f"{loss.shape}: give it the loss")
        self.loss = loss
        self.execution = Execution(loss)
        self.nodes = self.execution.nodes
        self.backward = Backward(self.execution)
        self.number = 1  # of the current event
        self.view = view
        self._moved = False

    @property
    def view(self) -> View:
        """Which numbers are shown; set it to text or to a tuple, see `step`."""
        return self._view

    @view.setter
    def view(self, view: Any) -> None:
        self._view = read_view(view)

    @property
    def event(self) -> Event:
        """The current event."""
        return self.at(self.number)

    def __len__(self) -> int:
        return 2 * len(self.nodes)

    def __iter__(self) -> Iterator[Event]:
        return (self.at(number) for number in range(1, len(self) + 1))

    def at(self, number: int) -> Event:
        """Event 1, 2, ... of the walk, without going there.

        Raises InputError when there is no such event, or when a leaf that it shows was changed meanwhile.
        """
        if not 1 <= number <= len(self):
            raise InputError(f"there is no step {number}: this walk has steps 1 to {len(self)}")
        phase, node = self._place(number)
        check_unchanged(node)
        values, settings = forward_values(self.execution, node)
        *inputs, output = (f"{value.label} {value.array.shape}" for value in values)
        added: tuple[Contribution, ...] = ()
        if phase == BACKWARD:
            handed = self.backward.step(number - 1 - len(self.nodes))
            values = backward_values(self.execution, node, handed)
            added = handed.added
        return Event(phase, number, len(self), node, self.execution.name(node), f"{', '.join(inputs)} -> {output}",
                     tuple(settings), tuple(values), added, self.view)

    def go(self, number: int) -> Event:
        """Go to step 1, 2, ...; the event there.  Raises InputError, and does not move, when there is none."""
        event = self.at(number)
        self.number, self._moved = number, True
        return event

    def next(self) -> Event:
        """Go to the next event.  Raises InputError at the last one."""
        if self.number == len(self):
            raise InputError("this is the last step: the backward pass is complete")
        return self.go(self.number + 1)

    def back(self) -> Event:
        """Go to the event before.  Raises InputError at the first one."""
        if self.number == 1:
            raise InputError("this is the first step: nothing was computed before it")
        return self.go(self.number - 1)

    def until(self, what: str = "", *, layer: int | None = None, nan: bool = False, norm: float | None = None,
              phase: str = "") -> Event:
        """Go on to the next event for which all of these hold, see `Condition`; a fresh walk may stop where it is.

        `what` may also say everything in words: "backward attention", "layer 1 norm>10".
        Raises InputError, and does not move, when there is none, and when nothing in the graph has this name.
        """
        given = {"layer": layer, "nan": nan or None, "norm": norm, "phase": phase or None}
        condition = Condition.read(what, **{name: value for name, value in given.items() if value is not None})
        condition.check_names(self.nodes)
        for number in range(self.number + self._moved, len(self) + 1):
            at, node = self._place(number)
            if condition.phase in ("", at) and condition.fits(node, self.nodes) and (
                    (not condition.nan and condition.norm is None) or condition.holds(self.at(number))):
                return self.go(number)
        raise InputError(f"no step after this one, {self.number} of {len(self)}, fits {str(condition)!r}: still here")

    def check(self) -> GradientReport:
        """Is the gradient of the current operation the slope?  Numerically, at its arguments here, in float64.

        Raises InputError when a part of the model is recomputed, which cannot be run in another precision.
        """
        if any("collect" in node.op.wants for node in self.nodes):
            raise InputError("a part of this graph is computed again in its backward pass, so it cannot be run in "
                             "float64: run the forward pass without recomputation, and check that")
        node = self._place(self.number)[1]
        report = check_op(self._float64.op(node), *self._float64.arguments(node), **self._float64.hyper(node))
        twin = [Row(row.input, problem=row.problem) for row in check_twin(self._float64, node)]
        return replace(report, rows=(*report.rows, *twin))

    def to_html(self, events: Iterable[Event] | None = None) -> str:
        """A static page with these events, by default all of them, each to be unfolded."""
        from minibert.debug.stepping.html import page_html

        return page_html(self, self if events is None else events)

    def page(self, path: str | Path, events: Iterable[Event] | None = None) -> Path:
        """Write `to_html` to a file.  Raises InputError when it cannot be written."""
        write_atomically(Path(path), self.to_html(events).encode("utf-8"))
        return Path(path)

    def __repr__(self) -> str:
        return f"<a walk of {len(self)} steps, at {self.event!r}>"

    def _repr_html_(self) -> str:
        from minibert.debug.stepping.html import stepper_html

        return stepper_html(self)

    def _place(self, number: int) -> tuple[str, Node]:
        """Phase and operation of step 1, 2, ..."""
        n = len(self.nodes)
        return (FORWARD, self.nodes[number - 1]) if number <= n else (BACKWARD, self.nodes[2 * n - number])

    @cached_property
    def _float64(self) -> Execution:
        return Execution(self.loss, np.float64)
