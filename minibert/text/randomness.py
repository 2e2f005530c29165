"""Every random choice about text comes from here, so a run can be resumed from its step number alone.

A generator is a pure function of (seed, purpose, counter).  Two purposes never share a stream, and
nothing is carried over from one call to the next: there is no generator state to store.
"""

from typing import Literal

import numpy as np

from minibert.errors import InputError

Purpose = Literal["split", "pairs", "shuffle", "masks", "held-out masks"]

# The numbers are part of what a seed means: never reuse or renumber them.
_STREAMS: dict[Purpose, int] = {"split": 1, "pairs": 2, "shuffle": 3, "masks": 4, "held-out masks": 5}


def stream(seed: int, purpose: Purpose, counter: int = 0) -> np.random.Generator:
    """A fresh generator for one purpose; `counter` is the epoch or the step it serves.

    Raises InputError when the seed is negative.
    """
    if seed < 0:
        raise InputError(f"The seed is {seed}, but a seed must not be negative: take 0 or more.")
    return np.random.default_rng([seed, _STREAMS[purpose], counter])
