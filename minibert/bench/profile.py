"""Where the time of a step goes: the operations of the registry are replaced by timed ones for a while."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from minibert.bench.shape import Shape
from minibert.bench.step import TrainingStep
from minibert.ops.registry import REGISTRY


@dataclass
class Spent:
    """What all the calls of one function took."""

    seconds: float = 0.0
    calls: int = 0


@dataclass
class Timings:
    """Time spent in the forward and in the backward function of each operation, by its name."""

    forward: dict[str, Spent] = field(default_factory=dict)
    backward: dict[str, Spent] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The sum over all operations."""
        return sum(spent.seconds for side in (self.forward, self.backward) for spent in side.values())


@contextmanager
def timed_ops() -> Iterator[Timings]:
    """Inside this block every registered operation is timed.

    Meant for one thread: with several, operations that run side by side slow each other down and are counted in full.
    """
    before, timings = dict(REGISTRY), Timings()
    for name, op in before.items():
        REGISTRY[name] = replace(op, forward=_timed(op.forward, name, timings.forward),
                                 backward=_timed(op.backward, name, timings.backward))
    try:
        yield timings
    finally:
        REGISTRY.update(before)


def _timed(function: Callable[..., Any], name: str, table: dict[str, Spent]) -> Callable[..., Any]:
    """`function`, which notes in `table` what it takes.  An operation that is never called has no row there."""

    @functools.wraps(function)  # an Op reads its parameters' names from the signature
    def timed(*args: Any, **hyper: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **hyper)
        finally:
            spent = table.setdefault(name, Spent())
            spent.seconds += time.perf_counter() - start
            spent.calls += 1

    return timed


class OpTime(NamedTuple):
    """A row of the profile: one direction of one operation."""

    op: str
    direction: str  # forward or backward
    ms: float
    calls: int


class Profile(NamedTuple):
    """Where one step, taken on a single thread, spent its time, in milliseconds."""

    ops: list[OpTime]  # the dearest first
    rest: dict[str, float]  # what is not inside an operation

    @property
    def total_ms(self) -> float:
        """The whole step."""
        return sum(row.ms for row in self.ops) + sum(self.rest.values())

    def by_op(self) -> dict[str, dict[str, OpTime]]:
        """The rows of each operation, by direction; the operation that takes longest comes first."""
        table: dict[str, dict[str, OpTime]] = {}
        for row in self.ops:
            table.setdefault(row.op, {})[row.direction] = row
        return dict(sorted(table.items(), key=lambda item: -sum(row.ms for row in item[1].values())))


def profile_step(shape: Shape, **options: Any) -> Profile:
    """Take one step on one thread with timed operations, after another one that warms the caches up.

    options: those of TrainingStep.
    """
    step = TrainingStep(shape, 1, **options)
    try:
        step()
        with timed_ops() as timings:
            phases = step()
    finally:
        step.close()
    rows = [OpTime(name, direction, 1e3 * spent.seconds, spent.calls)
            for direction, table in vars(timings).items() for name, spent in table.items()]
    rest = {"graph and sums of gradients": phases.gradients - timings.seconds, "gradient norm": phases.clip,
            "AdamW": phases.update}
    return Profile(sorted(rows, key=lambda row: -row.ms), {name: 1e3 * seconds for name, seconds in rest.items()})
