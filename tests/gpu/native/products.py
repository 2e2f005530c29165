"""cuBLAS as we call it: right numbers for every combination of flags, in each precision, and how fast."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibert.backend import cupy, to_host
from minibert.bench.gpu.ceilings import in_precision
from minibert.ops.cuda import blas

from .options import Options
from .page import Page
from .timing import microseconds

# the largest relative error of a factor: of rounding to the nearest; cutting bits off loses up to twice as much
FACTOR = {"float32": 0.0, "tf32": 2.0**-11, "bfloat16": 2.0**-8}
LENGTHS = (1, 9, 130, 768, 4096)  # of the sums
STACKS = ((), (4,), (2, 3))
LARGE = 8192  # rows and columns: what the GPU reaches at best
FLAGS = tuple(itertools.product([False, True], repeat=2))


def products(page: Page, options: Options) -> None:
    """Errors by precision and length of the sums; then rates."""
    rng, rows = np.random.default_rng(9), []
    lengths = LENGTHS[:3] if options.small else LENGTHS
    for name in blas.PRECISIONS:
        with in_precision(name):
            rows += [[name, k, *_worst(page, rng, name, k)] for k in lengths]
    page.table(("precision", "length of the sums", "largest error / allowed", "rms error / (sqrt(k) rms factor)"), rows)
    page.note("Allowed is (2 u + u^2 + k 2^-24) sum |a b|, which rounding every factor to the nearest keeps "
              "(u = 0, 2^-11, 2^-8); up to 2 passes here, because hardware may cut bits off instead. The last column "
              "is between u / 2 and u where factors are rounded, on random numbers.")
    _double(page, rng)
    if not options.stand_in:
        page.table(("product", *(f"{name}, TFLOP/s" for name in blas.PRECISIONS)), list(_rates(options)))
    page.sentence = "largest error / allowed: " + ", ".join(
        f"{name} {max(row[2] for row in rows if row[0] == name):.2f}" for name in blas.PRECISIONS)


def _worst(page: Page, rng: np.random.Generator, name: str, k: int) -> tuple[float, float]:
    """Over all flags and stacks."""
    ratios, squares, u, n, m = [], [], FACTOR[name], 37, 53
    for (ta, tb), stack in itertools.product(FLAGS, STACKS):
        a, b = (rng.standard_normal((*stack, *shape)).astype(np.float32) for shape in ((n, k), (k, m)))
        exact, sizes = a.astype(float) @ b, np.abs(a).astype(float) @ np.abs(b)
        on_gpu = [cupy().asarray(np.ascontiguousarray(x.swapaxes(-1, -2) if turned else x))
                  for x, turned in ((a, ta), (b, tb))]
        distance = np.abs(to_host(blas.gemm(*on_gpu, ta, tb, alpha=0.5)) - 0.5 * exact) * 2
        ratios.append(float((distance / ((2 * u + u * u + k * 2.0**-24) * sizes)).max()))
        squares.append(float((distance**2).mean()) / k)
        page.check(ratios[-1] <= 2, f"{name}, k = {k}, stack {stack}, ta = {ta}, tb = {tb}: {ratios[-1]:.3g} times "
                                    f"what is allowed")
    return max(ratios), float(np.sqrt(np.mean(squares)))


def _double(page: Page, rng: np.random.Generator) -> None:
    """float64 is left alone in every precision."""
    a, b = rng.standard_normal((2, 35, 35))
    for name in blas.PRECISIONS:
        with in_precision(name):
            off = np.abs(to_host(blas.gemm(cupy().asarray(a), cupy().asarray(b))) - a @ b).max()
        page.check(off < 1e-12, f"a float64 product while {name} is chosen is off by {off:.3g}")


def _rates(options: Options) -> Iterator[list[Any]]:
    """Of the products of a step, and of a large one."""
    B, T, H, A, V = options.sizes
    N, D, M = B * T, H // A, B * (T // 7)
    shapes = {"projection": ((N, H), (H, H), 1), "feed-forward": ((N, H), (H, 4 * H), 1),
              "its weight's gradient": ((H, N), (N, 4 * H), 1), "words": ((M, H), (H, V), 1),
              "scores": ((T, D), (D, T), B * A), "context": ((T, T), (T, D), B * A),
              "large": ((LARGE, LARGE), (LARGE, LARGE), 1)}
    for what, ((n, k), (_, m), stack) in shapes.items():
        a, b = (_varied(stack, *shape) for shape in ((n, k), (k, m)))
        row: list[Any] = [f"{what}: {stack} x ({n} x {k}) ({k} x {m})"]
        for name in blas.PRECISIONS:
            with in_precision(name):
                row.append(2e-6 * stack * n * k * m / microseconds(lambda a=a, b=b: blas.gemm(a, b), 10))
        yield row


def _varied(*shape: int) -> Any:
    """Numbers between -1/2 and 1/2 on the GPU, not all alike: constant numbers need less power, and less time."""
    xp = cupy()
    return (xp.arange(np.prod(shape), dtype=np.float32) * np.float32(0.618034) % np.float32(1) - np.float32(0.5)
            ).reshape(shape)
