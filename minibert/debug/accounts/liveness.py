"""Which arrays are alive when, in a forward and a backward pass: the peak of memory, from the graph alone.

    forward    an array lives while a later operation uses it, while the call of a module has it as an argument, and
               while a node keeps it for backward
    backward   a node's saved arrays live until its own backward is done, a gradient until the backward of the
               operation it belongs to, and that of a parameter to the end

What an operation allocates for itself while it runs is found by running it alone; on a GPU only what it returns is
seen.
"""

import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, device_of
from minibert.debug.accounts.costs import arrays, owner
from minibert.debug.execution import Execution
from minibert.graph import Node, Source
from minibert.tensor import Tensor

KINDS = ("saved", "values", "parameter gradients", "gradients")  # in the order in which memory is put down to them


class Moment(NamedTuple):
    """One operation's forward or backward: the bytes alive before it, of each of KINDS, and its own at its peak."""

    node: Node
    forward: bool
    alive: dict[str, int]
    inside: int

    @property
    def peak(self) -> int:
        """The most bytes alive while the operation runs."""
        return sum(self.alive.values()) + self.inside


@dataclass
class _Alive:
    """Arrays that somebody holds, each block of memory counted once, under the first of KINDS that holds it."""

    given: set[int]  # the memory of parameters and constants, which was there before
    held: dict[str, dict[Any, list[Array]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})

    def bytes(self) -> dict[str, int]:
        """The bytes of each kind."""
        seen = set(self.given)
        return {kind: sum(new_bytes(held, seen) for held in self.held[kind].values()) for kind in KINDS}


def new_bytes(held: Iterable[Array], seen: set[int]) -> int:
    """The bytes behind these arrays that are not behind an array seen before; they are added to `seen`."""
    total = 0
    for whole in map(owner, held):
        if id(whole) not in seen:
            seen.add(id(whole))
            total += whole.nbytes
    return total


def moments(execution: Execution) -> list[Moment]:
    """Every operation of the forward pass, and then of the backward pass, with what is alive before it."""
    alive = _Alive(given_memory(execution))
    return [*_forward(execution, alive), *_backward(execution, alive)]


def given_memory(execution: Execution) -> set[int]:
    """What the forward pass was given, parameters, ids and masks, by the id of the array that owns the memory."""
    leaves = [x for leaf in execution.leaves for x in (leaf.data, execution.values[leaf])]
    others = [x.data if isinstance(x, Tensor) else x for node in execution.nodes for x in node.args]
    return {id(owner(x)) for x in arrays([*leaves, *others])}


def _forward(execution: Execution, alive: _Alive) -> list[Moment]:
    let_go: dict[Node, list[Node]] = {}
    for x, last in _last_holds(execution).items():
        let_go.setdefault(last, []).append(x)
    found = []
    for node in execution.nodes:
        before = alive.bytes()
        _, inside = _inside(execution, node, execution.forward, node)
        found.append(Moment(node, True, before, inside))
        alive.held["saved"][node] = list(arrays(execution.saved[node]))
        alive.held["values"][node] = [execution.values[node]]
        for x in let_go.get(node, []):
            del alive.held["values"][x]
    return found


def _last_holds(execution: Execution) -> dict[Node, Node]:
    """The last operation during which the forward pass holds each value: the last that uses it, or the last one of a
    module that got it as an argument, because a call holds its arguments until it returns.
    """
    ends = {path: i for i, node in enumerate(execution.nodes) for path in _paths(node.module)}
    last: dict[Node, int] = {}
    for i, node in enumerate(execution.nodes):
        for x in node.args:
            if isinstance(x, Node):
                called = [path for path in _paths(node.module) if path not in _paths(x.module)]
                last[x] = max(last.get(x, i), ends[called[0]] if called else i)
    return {x: execution.nodes[i] for x, i in last.items()}


def _paths(module: str) -> list[str]:
    """A module and those around it, the outermost first."""
    parts = module.split(".") if module else []
    return [".".join(parts[:i + 1]) for i in range(len(parts))]


def _backward(execution: Execution, alive: _Alive) -> list[Moment]:
    """As the engine does it: see minibert.graph.backpropagate."""
    dy: dict[Source, Array] = {execution.root: np.ones_like(execution.values[execution.root])}
    alive.held["gradients"] = {x: [gradient] for x, gradient in dy.items()}
    found = []
    for node in reversed(execution.nodes):
        before = alive.bytes()
        step, inside = _inside(execution, node, execution.backward_step, node, dy.pop(node))
        in_place = [i for x, i, _ in step.added if i == 0 and "into" in node.op.wants and x in dy]
        inside -= sum(dx.nbytes for _, i, dx in step.added if i in in_place)
        found.append(Moment(node, False, before, inside))
        del alive.held["saved"][node]
        for x, _, dx in step.added:
            dy[x] = dy[x] + dx if x in dy else dx
        alive.held["parameter gradients"] = {x: [dx] for x, dx in dy.items() if not isinstance(x, Node)}
        alive.held["gradients"] = {x: [dx] for x, dx in dy.items() if isinstance(x, Node)}
    return found


def _inside(execution: Execution, node: Node, run: Callable[..., Any], *args: Any) -> tuple[Any, int]:
    """What `run(*args)` returns, and the most bytes that the operation allocates."""
    result, most = allocated(run, *args)
    if on_gpu(execution):
        held = arrays([*execution.arguments(node), *execution.saved[node], *args])
        most = new_bytes(arrays(result), {id(owner(x)) for x in held})
    return result, most


def on_gpu(execution: Execution) -> bool:
    """Whether a graph is computed on a GPU, whose memory Python does not trace."""
    return device_of(execution.values[execution.root]) != "cpu"


def allocated(run: Callable[..., Any], *args: Any) -> tuple[Any, int]:
    """What `run(*args)` returns, and the most bytes it had allocated at one time, its result among them."""
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = run(*args)
        return result, max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        if not tracing:
            tracemalloc.stop()
