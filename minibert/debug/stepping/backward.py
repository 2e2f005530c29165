"""The backward pass as far as it was asked for, with every accumulator before and after each contribution."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.execution import Execution, check_unchanged
from minibert.graph import Node, Source, check_gradient


def read_only(array: Array) -> Array:
    """The same numbers on the host, which nobody can change by mistake."""
    return locked(np.asarray(to_host(array)))


def locked(array: Array) -> Array:
    """The same numbers, which nobody can change by mistake where they are NumPy's."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view


class Contribution(NamedTuple):
    """What one operation's backward adds to the gradient of one of its inputs."""

    x: Source
    i: int  # x's number among the operation's differentiable inputs; -1: a leaf inside a recomputed part
    dx: Array
    before: Array | None  # the accumulator of x; None while nothing has been added
    after: Array
    givers: tuple[Node, ...]  # whose contributions `before` is the sum of, in turn


class Handed(NamedTuple):
    """One operation's backward: the complete gradient that came in, and what it hands on."""

    dy: Array
    givers: tuple[Node, ...]  # whose contributions dy is the sum of
    added: tuple[Contribution, ...]


class Backward:
    """The backward pass of a loss, in the engine's order, one operation at a time and only when asked.

    It keeps every gradient that it has computed, so that any step can be seen again. In the end that is about as much
    memory as the inputs of all operations take together, parameters and all, and more where values fork.
    """

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.nodes = execution.nodes[::-1]
        self.sums: dict[Source, Array] = {
            execution.root: locked(np.ones_like(execution.values[execution.root]))}
        self.givers: dict[Source, tuple[Node, ...]] = defaultdict(tuple)
        self.steps: list[Handed] = []

    def step(self, number: int) -> Handed:
        """Step 0, 1, ...; those before it are computed first.

        Raises InputError when the backward of an operation returns what cannot be a gradient of its inputs.
        """
        while len(self.steps) <= number:
            self.steps.append(self._next(self.nodes[len(self.steps)]))
        return self.steps[number]

    def _next(self, node: Node) -> Handed:
        check_unchanged(node)
        dy = self.sums[node]
        added = [(x, i, locked(dx)) for x, i, dx in self.execution.backward_step(node, dy).added]
        returned = {i: dx for _, i, dx in added}
        for i, x in enumerate(node.inputs):
            if x is not None:
                check_gradient(node, x, returned.get(i))
        return Handed(read_only(dy), self.givers[node], tuple(self._add(node, x, i, dx) for x, i, dx in added))

    def _add(self, node: Node, x: Source, i: int, dx: Array) -> Contribution:
        """The fork rule: what went several ways forward is summed backward."""
        before, givers = self.sums.get(x), self.givers[x]
        self.sums[x] = dx if before is None else locked(before + dx)
        self.givers[x] = (*givers, node)
        return Contribution(x, i, read_only(dx), None if before is None else read_only(before), read_only(self.sums[x]),
                            givers)
