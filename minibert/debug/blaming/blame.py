"""Which operation is to blame for a NaN, an infinity, or numbers that explode: the first one, and why.

    print(blame(loss))        # before or after loss.backward()

The graph is run again in its own precision, so that what overflowed overflows again.  Forward, the first operation
is blamed whose output is not finite although all it was given is; then backward, the first whose gradient is not.
-inf that comes from a constant is a mask, and normal as long as it does not make a NaN.  Bad numbers that do not
reach the loss, or a gradient, are nobody's fault.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from minibert.debug.blaming.evidence import bad_places, is_finite
from minibert.debug.blaming.growth import growth_report
from minibert.debug.blaming.report import Blame, backward_report, forward_report, leaf_report, sum_report
from minibert.debug.execution import BackwardStep, Execution
from minibert.graph import Node, Source
from minibert.tensor import Tensor


class State(Enum):
    """What a value holds: only numbers, also -inf that a mask put there, or something bad."""

    FINE, MASKED, BAD = range(3)


def blame(loss: Tensor) -> Blame:
    """Name the first bad operation of the graph of `loss`, forward or backward (with dy = 1); see the module.

    kind of the report: "nan" (or infinity), "explosion" where all is finite but grows out of the ordinary, "nothing".
    Raises InputError when loss has no graph, or when a leaf was changed since the graph was made.
    """
    with np.errstate(all="ignore"):
        execution = Execution(loss)
        if not is_finite(execution.values[execution.root]):
            return _forward(execution)
        return _backward(execution) or growth_report(execution)


def _forward(execution: Execution) -> Blame:
    given = _given(execution, masks=True)
    if given[execution.root].made is not State.BAD:  # a mask itself has reached the loss
        given = _given(execution, masks=False)
    reached: set[Any] = {execution.root}
    for node in reversed(execution.nodes):
        if node in reached:
            reached |= {x for x, state in given[node].took if isinstance(x, Node) and state is State.BAD}
    for node in execution.nodes:
        took = given[node].took
        bad = [x for x, state in took if state is State.BAD]
        if node in reached and not any(isinstance(x, Node) for x in bad):
            masked = any(state is State.MASKED for _, state in took)
            return leaf_report(execution, node, bad[0]) if bad else forward_report(execution, node, masked)
    raise AssertionError("a bad value comes from somewhere")


class Given(NamedTuple):
    """What an operation was called with, each with its state, and the state of what it made."""

    took: list[tuple[Any, State]]
    made: State


def _given(execution: Execution, masks: bool) -> dict[Source, Given]:
    """Of every operation; without `masks`, -inf is as bad as anything."""
    given: dict[Source, Given] = {}
    for node in execution.nodes:
        took = []
        for x in [*node.args, *node.hyper.values()]:
            trained = isinstance(x, Tensor) and x.requires_grad
            took.append((x, given[x].made if isinstance(x, Node) and x in given else
                         _judge(execution.value(x, {}), masks and not trained)))
        states = [state for _, state in took]
        masked = masks and State.MASKED in states and State.BAD not in states
        given[node] = Given(took, _judge(execution.values[node], masked))
    return given


def _judge(x: Any, masks: bool) -> State:
    if is_finite(x):
        return State.FINE
    return State.MASKED if masks and not bad_places(x, masked=True, most=1) else State.BAD


def _backward(execution: Execution) -> Blame | None:
    """The first operation whose gradient is bad, was not given a bad one, and spoils the gradient of a leaf."""
    bad: list[tuple[Node, Source]] = []  # whose backward gave a bad gradient to whom
    spoiled: set[Source] = set()  # who was given a bad gradient
    starts: list[BackwardStep] = []
    for step in execution.backward_steps():
        to = [x for x, _, dx in step.added if not is_finite(dx)]
        if to and step.node not in spoiled:
            starts.append(step)
        bad += [(step.node, x) for x in to]
        spoiled.update(to)
    harmful: set[Source] = set()
    for node, x in reversed(bad):
        if x in harmful or not isinstance(x, Node):
            harmful.add(node)
    return next(_reports(execution, starts, harmful), None)


def _reports(execution: Execution, starts: list[BackwardStep], harmful: set[Source]) -> Iterator[Blame]:
    for step in starts:
        if step.node in harmful:
            if not is_finite(step.dy):
                yield sum_report(execution, step)
            for x, i, dx in step.added:
                if not is_finite(dx) and (x in harmful or not isinstance(x, Node)):
                    yield backward_report(execution, step, i, dx)
