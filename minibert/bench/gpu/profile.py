"""Where the time of a step goes on a GPU: every operation stands between two events, which the GPU itself notes."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from minibert.backend import cupy
from minibert.bench.gpu.ceilings import COPY_BYTES
from minibert.bench.gpu.step import Way, device_step
from minibert.bench.profile import OpTime, Profile
from minibert.bench.shape import Shape
from minibert.ops.cuda import optimizer
from minibert.ops.registry import REGISTRY, TWINS

WAY = Way("kernels, one by one", graph=False)  # within a graph no event tells the time
MARGIN, MOST_COPIES = 2.0, 500  # how long the GPU is kept busy, as a multiple of the host's time, and at most
UPDATE = {"norm_and_clip": "gradient norm", "adamw": "AdamW"}  # functions of minibert.ops.cuda.optimizer
Name = tuple[str, str]  # of an operation, and forward or backward; or of another part of the step


class Marks:
    """Pairs of events, before and after each call of something."""

    def __init__(self) -> None:
        self.pairs: dict[Name, list[tuple[Any, Any]]] = {}

    def around(self, name: Name, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` between two events of the current stream."""
        @functools.wraps(function)  # an Op reads its parameters' names from the signature
        def between_events(*args: Any, **hyper: Any) -> Any:
            begin, end = cupy().cuda.Event(), cupy().cuda.Event()
            begin.record()
            result = function(*args, **hyper)
            end.record()
            self.pairs.setdefault(name, []).append((begin, end))
            return result

        return between_events

    def ms(self, name: Name) -> float:
        """What all calls took, in milliseconds of the GPU, which must have done them."""
        return math.fsum(cupy().cuda.get_elapsed_time(*pair) for pair in self.pairs[name])


@contextmanager
def marked(marks: Marks) -> Iterator[None]:
    """Inside this block every operation, formula or twin, and the update of the weights are marked."""
    functions = vars(optimizer)
    before = [(table, dict(table)) for table in (REGISTRY, TWINS)]
    plain = {name: functions[name] for name in UPDATE}
    for table, ops in before:
        for name, op in ops.items():
            table[name] = replace(op, forward=marks.around((name, "forward"), op.forward),
                                  backward=marks.around((name, "backward"), op.backward))
    functions.update({name: marks.around((UPDATE[name], ""), function) for name, function in plain.items()})
    try:
        yield
    finally:
        functions.update(plain)
        for table, ops in before:
            table.update(ops)


def profile_device(shape: Shape, copy_gbs: float, micro_batch: int | None, recompute: bool) -> Profile:
    """Take one step, operation by operation, with marks around each.

    The GPU is kept busy with copies until the host has asked for the whole step, so that between two marks it waits
    for nobody.  copy_gbs: how many 10^9 bytes a second it copies; micro_batch, recompute: see `device_step`.
    """
    marks = Marks()
    with device_step(shape, WAY, micro_batch, recompute) as step, marked(marks):
        step()
        step.wait()
        begin = time.perf_counter()
        step()
        host_ms = 1e3 * (time.perf_counter() - begin)
        step.wait()
        marks.pairs.clear()
        with step.steps.graphs.stream:
            _keep_busy(MARGIN * host_ms, copy_gbs)
            marks.around(("step", ""), step.__call__)()
        step.wait()
        taken = {name: OpTime(*name, marks.ms(name), len(pairs)) for name, pairs in marks.pairs.items()}
    whole, *update = (taken.pop((name, "")) for name in ("step", *UPDATE.values()))
    rows = sorted(taken.values(), key=lambda row: -row.ms)
    known = math.fsum(row.ms for row in (*rows, *update))
    return Profile(rows, {"batch, sums of gradients": whole.ms - known, **{row.op: row.ms for row in update}})


def _keep_busy(ms: float, copy_gbs: float) -> None:
    """Ask for copies that take so many milliseconds."""
    xp = cupy()
    half = COPY_BYTES // 2
    memory = xp.zeros(COPY_BYTES, np.uint8)
    for _ in range(min(math.ceil(ms * 1e6 * copy_gbs / COPY_BYTES), MOST_COPIES)):
        memory[half:].data.copy_from_device_async(memory.data, half, xp.cuda.get_current_stream())
