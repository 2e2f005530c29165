"""CUDA graphs: a piece of work that is recorded once and then launched whole, so that no GPU waits for Python."""

import gc
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
                if self.recorded is None:
                    self.work()
        if self.recorded is not None:
            self.recorded.launch(self.stream)
        self.runs += 1

    def _record(self) -> Any:
        """Nothing is computed while a stream records.  None where the pool, cut up otherwise than before, is too small.

        It must not grow then: on a full GPU CuPy would free blocks to make room, and the recording knows them by now.
        """
        self.pool.set_limit(size=self.pool.total_bytes())
        try:
            self.stream.begin_capture()
            self.work()
        except MemoryError:
            self._give_up()
            return None
        except BaseException:
            self._give_up()
            raise
        finally:
            self.pool.set_limit(size=0)
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
        """Do `work` in the stream.  Work of the same key must ask for the same operations on the same arrays.

        Where memory ends, the graphs of other keys are forgotten, and `work` is begun once more: what it does to arrays
        that outlive it must come last.
        """
        with self.stream:
            if not self.record:
                work()
                return
            if key not in self.graphs:
                self.graphs[key] = Graph(work, self.stream)
            try:
                self.graphs[key].run()
                return
            except MemoryError:
                if len(self.graphs) == 1:
                    raise
            self.wait()  # other graphs hold memory, and may still run: each can be recorded again when it is asked for
            pools = [cupy().get_default_memory_pool(), *(graph.pool for graph in self.graphs.values())]
            self.graphs = {key: Graph(work, self.stream)}
            gc.collect()  # what the attempt had computed is full of cycles
            for pool in pools:
                pool.free_all_blocks()
            self.graphs[key].run()

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self.stream.synchronize()
