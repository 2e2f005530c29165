"""CUDA graphs: a piece of work that is recorded once and then launched whole, so that no GPU waits for Python."""

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from minibert.backend import cupy


class Graph:
    """One piece of work on the GPU, and the memory of its own in which it is done.

    A graph remembers addresses. What was freed while it was recorded must not become other people's memory, so it
    comes from a pool that nobody else draws from.
    """

    def __init__(self, work: Callable[[], None], stream: Any) -> None:
        self.work, self.stream = work, stream
        self.pool = cupy().cuda.MemoryPool()
        self.recorded: Any = None
        self.runs = 0

    def run(self) -> None:
        """Do the work, without waiting for its end: the first time by plain calls, which compile kernels and fill the
        pool; the second time they are recorded; from then on the recording is launched.
        """
        if self.recorded is None:
            with cupy().cuda.using_allocator(self.pool.malloc):
                if self.runs:
                    self.recorded = self._record()
                else:
                    self.work()
        if self.recorded is not None:
            self.recorded.launch(self.stream)
        self.runs += 1

    def _record(self) -> Any:
        """Nothing is computed while a stream records."""
        self.stream.begin_capture()
        try:
            self.work()
        except BaseException:
            self._give_up()
            raise
        return self.stream.end_capture()

    def _give_up(self) -> None:
        """End a recording that went wrong, which CUDA answers with an error that says less than the first one."""
        with suppress(cupy().cuda.runtime.CUDARuntimeError):
            self.stream.end_capture()


class Graphs:
    """Graphs by key, all in one stream, one after the other."""

    def __init__(self, record: bool = True) -> None:
        """record: whether to record at all; otherwise the work is done by plain calls each time."""
        self.stream = cupy().cuda.Stream()  # one that waits for what plain code asks for, and that plain code waits for
        self.record = record
        self.graphs: dict[Hashable, Graph] = {}

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do `work` in the stream.  Work of the same key must ask for the same operations on the same arrays."""
        with self.stream:
            if not self.record:
                work()
                return
            if key not in self.graphs:
                self.graphs[key] = Graph(work, self.stream)
            self.graphs[key].run()

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self.stream.synchronize()
