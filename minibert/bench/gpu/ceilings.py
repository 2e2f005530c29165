"""What this GPU reaches when it does nothing else: copies, and the largest matrix products of a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from minibert.backend import cupy
from minibert.bench.gpu.memory import own_memory
from minibert.bench.shape import Shape
from minibert.ops.cuda import blas
from minibert.ops.cuda.graph import Graphs

COPY_BYTES = 1 << 28  # far more than any cache
COPIES = 20
GEMM_FLOP = 5e11  # in one measurement of a product: milliseconds on a GPU of today
MOST_GEMMS = 200  # in one measurement
TIMES = 5  # that each is measured: the quickest counts


@dataclass(frozen=True)
class Product:
    """(n, k) by (k, m), as a linear map computes it; the second operand is stored transposed."""

    name: str
    n: int
    k: int
    m: int

    @property
    def flop(self) -> int:
        """A multiplication and an addition counted as two."""
        return 2 * self.n * self.k * self.m

    def __str__(self) -> str:
        return f"{self.name}, {self.n:,} x {self.k:,} x {self.m:,}"


@dataclass(frozen=True)
class Ceilings:
    """copy_gbs: 10^9 bytes a second, those that are read and those that are written.  tflops: 10^12 operations a second
    of each product of float32 arrays, by the precision in which it sees them.
    """

    copy_gbs: float
    tflops: dict[str, dict[Product, float]]

    def gemm(self, precision: str) -> float:
        """The best rate of matrix products, in 10^12 operations a second."""
        return max(self.tflops[precision].values())

    def best(self, other: Self) -> "Ceilings":
        """The higher of two looks at each."""
        return Ceilings(max(self.copy_gbs, other.copy_gbs), {
            precision: {product: max(rate, other.tflops[precision][product]) for product, rate in rates.items()}
            for precision, rates in self.tflops.items()})


def largest_products(shape: Shape) -> tuple[Product, ...]:
    """Those of a step that take most operations: into the feed-forward width, and from masked positions to words."""
    return (Product("feed-forward", shape.tokens, shape.hidden, shape.width),
            Product("words", shape.masked, shape.hidden, shape.vocabulary))


def measure_ceilings(shape: Shape) -> Ceilings:
    """Less than a second of a GPU; 512 MB of its memory, or what two operands of the largest product need."""
    with own_memory():
        copy_gbs = _copy_rate()
    tflops: dict[str, dict[Product, float]] = {}
    for precision in blas.PRECISIONS:
        with in_precision(precision):
            tflops[precision] = {product: _gemm_rate(product) for product in largest_products(shape)}
    return Ceilings(copy_gbs, tflops)


@contextmanager
def in_precision(name: str) -> Iterator[None]:
    """Inside this block matrix products see their factors in this precision."""
    before = blas.precision()
    blas.set_precision(name)
    try:
        yield
    finally:
        blas.set_precision(before)


def _copy_rate() -> float:
    xp = cupy()
    here, there = (xp.full(COPY_BYTES // 4, 1.5, np.float32) for _ in range(2))

    def copies() -> None:
        for _ in range(COPIES):
            there.data.copy_from_device_async(here.data, here.nbytes, xp.cuda.get_current_stream())

    return 2e-9 * COPIES * here.nbytes / (1e-3 * _quickest_ms(copies))


def _gemm_rate(product: Product) -> float:
    xp, rng = cupy(), np.random.default_rng(0)
    repeats = int(min(max(GEMM_FLOP / product.flop, 1), MOST_GEMMS))
    with own_memory():
        a, b = (xp.asarray(rng.standard_normal(size, np.float32))  # a GPU multiplies zeros faster than numbers
                for size in ((product.n, product.k), (product.m, product.k)))

        def products() -> None:
            for _ in range(repeats):
                blas.gemm(a, b, tb=True)

        return 1e-12 * repeats * product.flop / (1e-3 * _quickest_ms(products))


def _quickest_ms(work: Callable[[], None]) -> float:
    """Milliseconds of the GPU for `work`, as one CUDA graph, so that it never waits for the host."""
    xp, graphs = cupy(), Graphs()
    stream: Any = graphs.stream
    for _ in range(2):  # plain calls, and the recording
        graphs.run("work", work)
    times = []
    for _ in range(TIMES):
        begin, end = xp.cuda.Event(), xp.cuda.Event()
        begin.record(stream)
        graphs.run("work", work)
        end.record(stream)
        end.synchronize()
        times.append(xp.cuda.get_elapsed_time(begin, end))
    return min(times)
