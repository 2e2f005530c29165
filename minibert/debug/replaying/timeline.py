"""Everything that one training step computes, in order: every operation forward and backward, and the update.

The backward passes are those of the engine itself, watched: each node of a graph is given an operation whose backward
reports what it returned. So nothing here can differ from training, not even in the last bit.
"""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert.backend import Array
from minibert.debug.execution import Execution, input_name, on_host
from minibert.errors import InputError
from minibert.graph import Node
from minibert.ops.registry import Op
from minibert.summary import shape_text
from minibert.tensor import Tensor
from minibert.train.lanes import Sums

FORWARD, BACKWARD, GRADIENT, UPDATE = "forward", "backward", "gradient", "update"
Watch = Callable[[Node, tuple], None]


@dataclass(frozen=True, repr=False)
class Record:
    """One thing that a step computes, with its arrays by name.

    phase, part: forward or backward of a micro-batch; or gradient, update of the whole batch, where part is None.
    name: an operation with its module, or a parameter.  place: file:line of the model, where there is one.
    norms: Euclidean, of each array.  arrays: None where they were not kept.
    """

    phase: str
    part: int | None
    name: str
    place: str
    norms: dict[str, float]
    shapes: dict[str, tuple[int, ...]]
    arrays: dict[str, Array] | None

    @property
    def key(self) -> tuple[str, int | None, str]:
        """What finds it in another timeline of the same step."""
        return self.phase, self.part, self.name

    @property
    def where(self) -> str:
        """Its part of the step, in words."""
        return self.phase if self.part is None else f"{self.phase} of micro-batch {self.part}"

    def __repr__(self) -> str:
        arrays = ", ".join(f"{kind} {shape_text(shape)}" for kind, shape in self.shapes.items())
        return f"<{self.where}: {self.name}, {arrays}>"


@dataclass(repr=False)
class Timeline:
    """The records of one step, and its numbers.

    sums: losses and right answers.  norm: of the gradient.  scale: what clipping multiplied it by.
    after: weights and moments after the update, as in a saved training state; empty where a loss or gradient that is
    not a number ended the run.
    changes: what was changed before the step was computed.  device: what it was computed on.
    verified: what its numbers were compared with, in words.
    """

    number: int
    records: list[Record] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    norm: float = 0.0
    scale: float = 1.0
    lr: float = 0.0
    after: dict[str, Array] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    device: str = "cpu"
    verified: str = ""

    def __repr__(self) -> str:
        return (f"<step {self.number}: {len(self.records):,} records, loss "
                f"{self.sums.masked_loss + self.sums.pair_loss:.6f}, gradient norm {self.norm:.6f}; {self.verified}>")

    def find(self, name: str, phase: str = FORWARD, part: int | None = 0) -> Record:
        """The record of that name.  Raises InputError when there is none."""
        part = part if phase in (FORWARD, BACKWARD) else None
        for record in self.records:
            if record.key == (phase, part, name):
                return record
        raise InputError(f"step {self.number} has no record {name!r} in its {phase} phase"
                         + (f" of micro-batch {part}" if part is not None else "") + ": see timeline.records")


class Recorder:
    """Makes a timeline.  keep: whether its records keep their arrays."""

    def __init__(self, timeline: Timeline, keep: bool) -> None:
        self.timeline, self.keep = timeline, keep

    def add(self, phase: str, name: str, arrays: Mapping[str, Any], part: int | None = None, place: str = "") -> None:
        """Add a record of these arrays, which may change afterwards."""
        values = {kind: np.asarray(on_host(array)) for kind, array in arrays.items()}
        self.timeline.records.append(Record(
            phase, part, name, place, {kind: norm(x) for kind, x in values.items()},
            {kind: x.shape for kind, x in values.items()},
            {kind: x.copy() for kind, x in values.items()} if self.keep else None))

    def watch(self, loss: Tensor, part: int) -> None:
        """Record the forward operations of a graph, and make it report its backward ones when it is used."""
        execution = Execution(loss)
        names = {node: execution.name(node) for node in execution.nodes}
        places = {node: place(node) for node in execution.nodes}

        def report(node: Node, gradients: tuple) -> None:
            arrays = {f"d{input_name(node, i)}": dx for i, dx in enumerate(gradients) if node.inputs[i] is not None}
            self.add(BACKWARD, names[node], arrays, part, places[node])

        for node in execution.nodes:
            self.add(FORWARD, names[node], {"y": execution.values[node]}, part, places[node])
            node.op = watched(node, report)


def watched(node: Node, report: Watch) -> Op:
    """The operation of `node`, whose backward calls report(node, gradients) before it returns them."""
    backward = node.op.backward

    @functools.wraps(backward)  # its signature says what it wants of the graph
    def reporting(*args: Any, **extra: Any) -> Any:
        gradients = backward(*args, **extra)
        report(node, gradients)
        return gradients

    return replace(node.op, backward=reporting)


def place(node: Node) -> str:
    """file:line of the model that called this operation."""
    call = node.forward_frame()[-1]
    return f"{call.filename}:{call.lineno}"


def norm(array: Array) -> float:
    """Euclidean norm, computed in float64."""
    return float(np.linalg.norm(np.asarray(array, np.float64).reshape(-1)))


def short_place(place: str) -> str:
    """The file below the folder that holds the package, where it is there."""
    return place.removeprefix(str(Path(minibert.__file__).parents[1]) + os.sep)


def end_of(name: str, width: int) -> str:
    """A dotted name without its first parts, if it is longer than `width`."""
    while len(name) > width and "." in name:
        name = name.partition(".")[2]
    return name
