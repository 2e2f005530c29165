"""Timing work that a GPU does while the host goes on."""

import time
from collections.abc import Callable
from typing import NamedTuple

STEPS = 10  # of a round: pretraining reads the numbers of as many at once


class Round(NamedTuple):
    """Milliseconds of a step, and milliseconds for which the host is busy asking for one."""

    ms: float
    host_ms: float


def time_round(step: Callable[[], object], wait: Callable[[], object]) -> Round:
    """Ask for STEPS steps, and wait for all of them.  wait: returns when the GPU has done all that was asked for.

    The host's own time is that of the first step, for which it finds an idle GPU: later on, it might have to wait
    because too much is asked for already.
    """
    wait()
    begin = time.perf_counter()
    step()
    asked = time.perf_counter()
    for _ in range(STEPS - 1):
        step()
    wait()
    return Round(1e3 * (time.perf_counter() - begin) / STEPS, 1e3 * (asked - begin))
