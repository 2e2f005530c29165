"""A step is asked for, and not waited for."""

import time
import warnings
from contextlib import closing
from typing import Any

import cupyx

from minibert.backend import cupy
from minibert.bench.shape import Shape
from minibert.train.device_steps import UNREAD, DeviceSteps

from .full_size import full_size_steps, shape_of
from .options import Options
from .page import Page

WARM = 3  # steps: by plain calls, recorded, launched
SHARE = 0.5  # of the GPU's time that the host may take to ask for a step of BERT-base


def waiting(page: Page, options: Options) -> None:
    """No wait and no new memory inside a step, and what the host needs to ask for one."""
    shapes = {"BERT-base's size": shape_of(options)}
    if not options.small:
        shapes |= {"mini": Shape.preset("mini"), "tiny": Shape(2, 128, 4, 3000, 16, 64)}
    rows = []
    for name, shape in shapes.items():
        for graphs in (True, False):
            rows.append([name, "graph" if graphs else "plain calls", *_steps(page, shape, graphs)])
    page.table(("model", "how", "host, ms a step", "GPU, ms a step", "host / GPU", "arrays made in a step"), rows)
    page.note("The host's time is that of take() alone, the GPU's between events around the steps. Where host / GPU is "
              "near 1 for plain calls, the GPU waits for Python.")
    host, gpu = rows[0][2:4]
    page.check(options.stand_in or host < SHARE * gpu, f"the host takes {host:.3g} ms to ask for {gpu:.3g} ms")
    page.sentence = f"the host asks for a step of {gpu:.3g} ms in {host:.3g} ms"


def _steps(page: Page, shape: Shape, graphs: bool) -> list[Any]:
    """Milliseconds of the host and of the GPU, their ratio, and allocations, for one shape."""
    steps, batch = full_size_steps(shape, graphs)
    with closing(steps):
        for number in range(WARM):
            _take_without_a_wait(page, steps, batch, number)
        steps.finished()
        with Allocations() as made:
            _take_without_a_wait(page, steps, batch, WARM)
        steps.finished()
        if graphs:
            page.check(made.count == 0, f"a recorded step of {shape} makes {made.count} arrays")
        host, gpu = _times(steps, batch)
    return [host, gpu, host / max(gpu, 1e-9), made.count]


def _take_without_a_wait(page: Page, steps: DeviceSteps, batch: dict[str, Any], number: int) -> None:
    """CuPy raises where it knows that it would wait."""
    with warnings.catch_warnings(), page.checking(f"step {number} waits"):
        warnings.simplefilter("ignore")
        with cupyx.allow_synchronize(False):
            steps.take(batch, number, 1e-4)
        page.held += 1


def _times(steps: DeviceSteps, batch: dict[str, Any]) -> tuple[float, float]:
    """Milliseconds a step: of the host, and of the GPU."""
    cuda, count = cupy().cuda, UNREAD - 1  # after that many nothing is read yet
    first, last = cuda.Event(), cuda.Event()
    first.record(steps.graphs.stream)
    start = time.perf_counter()
    for number in range(count):
        steps.take(batch, WARM + 1 + number, 1e-4)
    host = time.perf_counter() - start
    last.record(steps.graphs.stream)
    last.synchronize()
    steps.finished()
    return 1e3 * host / count, cuda.get_elapsed_time(first, last) / count


class Allocations(cupy().cuda.MemoryHook):
    """Counts arrays that are made inside a block."""

    name = "allocations"
    count = 0

    def malloc_preprocess(self, device_id: int, size: int, mem_size: int) -> None:
        self.count += 1
