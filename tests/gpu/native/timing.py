"""How long the GPU takes for something."""

from collections.abc import Callable
from statistics import median
from typing import Any

from minibert.backend import cupy

FLUSH = 256 << 20  # bytes written in between, so that nothing is in the cache


def microseconds(work: Callable[[], Any], times: int, flush: Any = None) -> float:
    """The median of `times` runs, each between two events; after two that do not count.

    flush: an array that is written before each run.
    """
    cuda = cupy().cuda
    pairs = []
    for _ in range(times + 2):
        if flush is not None:
            flush.fill(0)
        pairs.append((cuda.Event(), cuda.Event()))
        pairs[-1][0].record()
        work()
        pairs[-1][1].record()
    pairs[-1][1].synchronize()
    return 1e3 * median(cuda.get_elapsed_time(*pair) for pair in pairs[2:])
