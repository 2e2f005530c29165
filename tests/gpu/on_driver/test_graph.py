"""Work that is recorded and launched whole, on a GPU whose memory ends."""

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import pytest

from minibert.ops.cuda import graph as graphs_module
from minibert.ops.cuda.graph import Graphs


class Device:
    """Memory of a GPU that has `room` bytes, and how much of it is in use."""

    def __init__(self, room: int) -> None:
        self.room, self.used = room, 0

    def allocate(self, size: int) -> Any:
        if self.used + size > self.room:
            raise cupy.cuda.memory.OutOfMemoryError(size, self.used, self.room)
        device = self

        class Counted(cupy.cuda.Memory):
            def __init__(self) -> None:
                super().__init__(size)
                device.used += size

            def __del__(self) -> None:
                device.used -= size

        return cupy.cuda.MemoryPointer(Counted(), 0)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """The pools of graphs draw from it."""
    limited, make = Device(1 << 20), graphs_module.Graph.__init__

    def small(graph: Any, *arguments: Any) -> None:
        make(graph, *arguments)
        graph.pool = cupy.cuda.MemoryPool(limited.allocate)

    monkeypatch.setattr(graphs_module.Graph, "__init__", small)
    return limited


def adding(total: Any, size: int) -> Callable[[], None]:
    """Work that needs `size` numbers of float32 for a while, and adds 1 to `total` at its end."""
    def work() -> None:
        x = cupy.full(size, 2.0, np.float32)
        y = x - 1.0
        total.__iadd__(y[:1])

    return work


def test_work_is_done_each_time_and_recorded_once(device: Device) -> None:
    graphs, total = Graphs(), cupy.zeros(1, np.float32)
    for times in range(1, 6):
        graphs.run("a", adding(total, 1000))
        graphs.wait()
        assert float(total[0]) == times and (graphs.graphs["a"].recorded is not None) == (times > 1)


def test_where_memory_ends_other_graphs_make_room(device: Device) -> None:
    """Each needs most of the memory; any order of them comes out right."""
    graphs, total = Graphs(), cupy.zeros(1, np.float32)
    for times, key in enumerate("aabbbaabcca", 1):
        graphs.run(key, adding(total, {"a": 60_000, "b": 80_000, "c": 70_000}[key]))
        graphs.wait()
        assert float(total[0]) == times and device.used <= device.room
    assert list(graphs.graphs) == ["c", "a"]  # these two fit together, and b beside neither


def test_work_that_fits_nowhere_fails(device: Device) -> None:
    graphs, total = Graphs(), cupy.zeros(1, np.float32)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        graphs.run("a", adding(total, 1 << 20))
    assert float(total[0]) == 0


def test_a_recording_does_not_let_its_pool_grow(device: Device) -> None:
    """On a full GPU CuPy would free what the recording knows already: it is made by plain calls, and recorded later."""
    graphs, total, extra = Graphs(), cupy.zeros(1, np.float32), [10, 50_000, 50_000, 50_000]
    runs: list[int] = []

    def work() -> None:
        adding(total, 1000)()
        more = cupy.empty(extra[min(len(runs), 3)], np.float32)
        more.fill(0.0)

    for times in range(1, 6):
        graphs.run("a", work)
        runs.append(times)
        graphs.wait()
        assert float(total[0]) == times
        assert (graphs.graphs["a"].recorded is not None) == (times > 2)
