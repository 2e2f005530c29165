"""Routes: one gradient entry as a sum over the ways that lead from it to the loss.

Backward is linear in the gradient that comes in:

    (1)  entry = pull(g),  pull(g1 + g2) = pull(g1) + pull(g2)

where g is the gradient of the loss at some value, and `pull` goes down a fixed way from that value to the entry.  So
however g is split, the entry is split with it, exactly: by its places, by the losses it came from, and by the
operations that handed it down.  Nothing here differentiates: every pull is the engine's own backward.

The same number from below: entry = sum(slope g), where `push` goes up the way with a step of the entry's number.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from minibert.backend import Array
from minibert.debug.execution import Execution, Use, input_name
from minibert.debug.provenance.tangent import push
from minibert.graph import Node, Source

Shake = Callable[[Array], Array]  # what is done to every gradient on its way down
SUMS = ("add", "subtract")  # what a loss is added up with
SCALINGS = ("multiply", "divide")  # by a constant


def as_it_is(dy: Array) -> Array:
    """No change."""
    return dy


def contributions(execution: Execution, node: Node, dy: Array) -> list[tuple[Source, int, Array]]:
    """The backward of one operation: (input, its number, contribution), in the shapes they must have.

    Raises AssertionError where the engine breaks its contract.
    """
    step = execution.backward_step(node, dy)
    if len(step.added) != sum(x is not None for x in node.inputs):
        raise AssertionError(f"the backward of {node} left out an input")
    for x, i, dx in step.added:
        if dx.shape != x.shape:
            raise AssertionError(f"the backward of {node} gave {input_name(node, i)} a gradient of shape {dx.shape}, "
                                 f"not {x.shape}")
    return step.added


def sweep(execution: Execution, seeds: Mapping[Source, Array], passes: Callable[[Node], bool],
          shake: Shake = as_it_is) -> dict[Source, Array]:
    """Backward from `seeds`, handed on only by nodes that `passes` lets through: the gradient of all it reaches."""
    found = dict(seeds)
    for node in reversed(execution.order):
        if isinstance(node, Node) and node in found and passes(node):
            for x, _, dx in contributions(execution, node, shake(found[node])):
                found[x] = found[x] + dx if x in found else dx
    return found


class Field:
    """The gradient of the loss, or of a part of it, at every value, along all ways that avoid the `blocked` nodes."""

    def __init__(self, execution: Execution, seeds: Mapping[Source, Array], blocked: frozenset[Node]) -> None:
        self.execution, self.seeds, self.blocked = execution, seeds, blocked

    @cached_property
    def reached(self) -> dict[Source, Array]:
        """The gradient of every value that gets one."""
        found = sweep(self.execution, self.seeds, lambda node: node not in self.blocked)
        return {x: dx for x, dx in found.items() if x not in self.blocked}

    def at(self, x: Source) -> Array:
        """The gradient of one value."""
        return self.reached[x] if x in self.reached else np.zeros_like(self.execution.values[x])

    def uses(self, x: Source) -> list[Use]:
        """The uses of x through which it gets a gradient."""
        return [(node, i) for node, i in self.execution.uses[x] if node in self.reached]

    def avoiding(self, nodes: Collection[Node]) -> "Field":
        """Without the ways through these nodes."""
        return Field(self.execution, self.seeds, self.blocked | frozenset(nodes))

    def addends(self, keep: Collection[Source]) -> "list[tuple[Source, Field]]":
        """One field for every term of the sum that the loss is; those of `keep` are not taken apart."""
        terms, sums = [], list(self.seeds.items())
        while sums:
            x, dy = sums.pop()
            if isinstance(x, Node) and _is_sum(x) and x not in self.blocked and x not in keep:
                sums += [(term, dx) for term, _, dx in reversed(contributions(self.execution, x, dy))]
            else:
                terms.append((x, Field(self.execution, {x: dy}, self.blocked)))
        return terms


def _is_sum(node: Node) -> bool:
    """Whether a loss is taken apart here: at a sum, or at a product with a constant."""
    return node.op.name in SUMS or (node.op.name in SCALINGS and None in node.inputs)


class Step(Protocol):
    """A linear map from a gradient further up to one further down."""

    def pull(self, execution: Execution, dy: Array, shake: Shake) -> Array:
        """dy, further down."""

    def push(self, execution: Execution, dx: Array) -> Array | None:
        """How the value further up moves with the one further down; None where only `pull` is exact."""


@dataclass(frozen=True)
class Edge:
    """One use of a value."""

    node: Node
    i: int

    def pull(self, execution: Execution, dy: Array, shake: Shake) -> Array:
        """From the operation's output to its input number i."""
        return next(dx for _, i, dx in contributions(execution, self.node, shake(dy)) if i == self.i)

    def push(self, execution: Execution, dx: Array) -> Array | None:
        """From input number i to the output."""
        return push(execution, self.node, {self.i: dx})


@dataclass(frozen=True)
class Flow:
    """All ways from the value of `start` down to `goal` on which every value between is one of `inside`."""

    start: Node
    goal: Source
    inside: frozenset[Node]

    def pull(self, execution: Execution, dy: Array, shake: Shake) -> Array:
        """From `start` to `goal`."""
        return sweep(execution, {self.start: dy}, lambda node: node is self.start or node in self.inside,
                     shake)[self.goal]

    def push(self, execution: Execution, dx: Array) -> Array | None:
        """From `goal` to `start`."""
        moved: dict[Source, Array] = {self.goal: dx}
        for node in execution.nodes:
            moves = {i: moved[x] for i, x in enumerate(node.inputs) if x in moved}
            if moves and (node is self.start or node in self.inside):
                dy = push(execution, node, moves)
                if dy is None:
                    return None
                moved[node] = dy
            if node is self.start:
                break
        return moved[self.start]


@dataclass(frozen=True, eq=False)
class Only:
    """The places of a value that are in group number `number`."""

    group: Array  # of integers, broadcast to the value
    number: int

    def pull(self, execution: Execution, dy: Array, shake: Shake) -> Array:
        """The same gradient, 0 elsewhere."""
        return np.where(self.group == self.number, shake(dy), 0.0)

    def push(self, execution: Execution, dx: Array) -> Array | None:
        """The same movement, 0 elsewhere."""
        return np.where(self.group == self.number, dx, 0.0)


@dataclass(frozen=True, eq=False)
class Route:
    """A way from an entry up to a value, and the gradient that the value gets from the loss.

    target, entry: a value, and the place of one of its numbers.
    steps: from the entry outwards; each is pulled through, the last one first.  end: the value they lead to.
    known: what arrives at the entry, where it has been computed together with others.
    """

    target: Source
    entry: tuple[int, ...]
    steps: tuple[Step, ...]
    end: Source
    field: Field
    known: float | None = None

    def pull(self, dy: Array, shake: Shake = as_it_is) -> float:
        """(1) for another gradient at the end."""
        for step in reversed(self.steps):
            dy = step.pull(self.field.execution, dy, shake)
        return float(dy[self.entry])

    @cached_property
    def value(self) -> float:
        """What arrives at the entry."""
        return self.pull(self.field.at(self.end)) if self.known is None else self.known

    def slope(self) -> Array | None:
        """How the value at the end moves with the entry's number; None where that is not exact."""
        execution = self.field.execution
        dx = np.zeros_like(execution.values[self.target])
        dx[self.entry] = 1.0
        for step in self.steps:
            if (dx := step.push(execution, dx)) is None:
                return None
        return dx

    def shaken(self, rng: np.random.Generator) -> float:
        """The value, if every gradient on all its ways had random signs: what cancels in the value does not here."""
        def shake(dy: Array) -> Array:
            return np.asarray(dy * rng.choice([-1.0, 1.0], dy.shape))
        field = self.field
        found = sweep(field.execution, field.seeds, lambda node: node not in field.blocked, shake)
        return self.pull(found.get(self.end, field.at(self.end)), shake)

    def then(self, step: Step, end: Source) -> "Route":
        """One step further towards the loss."""
        return replace(self, steps=(*self.steps, step), end=end, known=None)

    def uses(self) -> "dict[Use, Route]":
        """Split by who uses the value at the end."""
        return {(node, i): self.then(Edge(node, i), node) for node, i in self.field.uses(self.end)}

    def until(self, stop: Callable[[Source], bool]) -> "tuple[list[Route], list[Route]]":
        """The ways up to the first value on each where `stop` holds; and those that reach the loss without one."""
        if stop(self.end):
            return [self], []
        met: set[Node] = set()
        between: set[Node] = set()
        stack, passed_by = [self.end], False
        while stack:
            x = stack.pop()
            passed_by = passed_by or x in self.field.seeds
            users = {node for node, _ in self.field.uses(x)}
            met |= {node for node in users if stop(node)}
            new = users - met - between
            between |= new
            stack += new
        inside, order = frozenset(between), self.field.execution.nodes
        return ([self.then(Flow(node, self.end, inside), node) for node in order if node in met],
                [replace(self, field=self.field.avoiding(met), known=None)] if passed_by else [])
