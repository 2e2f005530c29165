"""What the device was asked to do.

    with record() as asked: ...          asked.counts["launches"], asked.journal
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from . import build

NAMES = ("launches", "gemms", "h2d", "d2h", "d2d", "syncs", "allocations", "graph_launches")


class Asked:
    """Filled in when the block ends: counts by name, and the journal, one line an event, in order."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.journal: list[str] = []


def _counts(library: ctypes.PyDLL) -> dict[str, int]:
    return dict(zip(NAMES, (ctypes.c_longlong * len(NAMES)).in_dll(library, "stand_in_counters"), strict=True))


@contextmanager
def record() -> Iterator[Asked]:
    """Counts launches of kernels, matrix products, copies by direction, waits of the host, and the rest of NAMES.

    The launch of a graph counts once, whatever it replays.
    """
    library, asked = build.library(), Asked()
    library.stand_in_journal.restype = ctypes.py_object
    before = _counts(library)
    library.stand_in_keep_journal(1)
    try:
        yield asked
    finally:
        asked.counts = {name: count - before[name] for name, count in _counts(library).items()}
        asked.journal = library.stand_in_journal()
        library.stand_in_keep_journal(0)
