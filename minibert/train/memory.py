"""Keeping the memory that one micro-batch has freed for the next one."""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3), in GNU's malloc.h
NEVER = 1 << 30  # bytes free at the end of the heap before any are given back
HEAP = 1 << 26  # bytes; a thread's memory comes in heaps of this size, kept when less than M_TOP_PAD is free elsewhere
LARGEST = 1 << 25  # bytes; larger arrays always come from the system and go back to it: the most that malloc allows


@cache
def reuse_freed_memory() -> bool:
    """Tell GNU's malloc to keep what is freed; elsewhere do nothing.  Whether it was told.

    By default it gives the activations of every micro-batch back to the system, which then clears them page by page
    for the next one: a tenth of a step of a small model. What a process holds at most does not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: HEAP, M_MMAP_THRESHOLD: LARGEST}
    return mallopt is not None and all(mallopt(name, value) for name, value in settings.items())
