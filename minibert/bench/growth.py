"""How the cost of a step grows with each number of its shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from minibert.bench.flops import step_flops
from minibert.bench.gemm import GemmPeak
from minibert.bench.machine import Machine, this_machine
from minibert.bench.report import count, describe, digits
from minibert.bench.rounds import Options, Rounds, progress_bar
from minibert.bench.shape import POSITIONS, Shape

BASE = Shape(2, 128, 2, 4096, 16, 64)
FACTORS = (Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4))
DIMENSIONS = {  # which numbers of the shape grow together; the first one names the value
    "batch": ("batch",),
    "length": ("length",),
    "width": ("hidden", "heads"),  # so that heads stay as wide as they are
    "depth": ("layers",)}


@dataclass(frozen=True)
class Point:
    """One shape, measured."""

    value: int  # of the dimension that grows
    shape: Shape
    step_ms: float  # the quickest: what disturbs a step from outside would bend the curves
    peak_mb: float | None

    @property
    def gflop(self) -> float:
        """10^9 operations of a step; see `step_flops`."""
        return 1e-9 * step_flops(self.shape, self.shape.masked)


@dataclass(frozen=True)
class Growth:
    """Measured shapes along each dimension, from a common base."""

    base: Shape
    threads: int
    steps: int  # that were timed, of each shape, unless the seconds were over
    machine: Machine
    gemm_peak_gflops: float
    start_mb: float | None  # what a process holds before there is a model
    lines: Mapping[str, list[Point]]

    def floor_ms(self, point: Point) -> float:
        """What the matrix products of a step would take at the machine's peak."""
        return 1e3 * point.gflop / self.gemm_peak_gflops

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"base": asdict(self.base), "threads": self.threads, "cpu": self.machine.cpu,
                "blas": asdict(self.machine.blas), "warnings": self.machine.warnings,
                "gemm_peak_gflops": self.gemm_peak_gflops, "start_mb": self.start_mb,
                "growth": {dimension: [{"value": p.value, "step_ms": p.step_ms, "gflop_per_step": p.gflop,
                                        "floor_ms": self.floor_ms(p), "peak_mb": p.peak_mb} for p in line]
                           for dimension, line in self.lines.items()}}


def variants(base: Shape, dimension: str) -> list[Shape]:
    """The base and its neighbours: half, twice and four times as much of one dimension, where that is possible."""
    names = DIMENSIONS[dimension]
    scaled = [{name: factor * getattr(base, name) for name in names} for factor in FACTORS]
    return [replace(base, **{name: int(value) for name, value in values.items()}) for values in scaled
            if all(value.denominator == 1 for value in values.values()) and values.get("length", 0) <= POSITIONS]


def measure_growth(base: Shape, threads: int, options: Options, steps: int, seconds: float) -> Growth:
    """Time up to `steps` steps of each shape, each in a new process; the shapes share the `seconds`."""
    lines = {dimension: variants(base, dimension) for dimension in DIMENSIONS}
    shapes = list(dict.fromkeys(shape for line in lines.values() for shape in line))  # the base once
    gemm, measured = GemmPeak(threads), {}
    with progress_bar(len(shapes), "shape") as bar:
        for shape in shapes:
            bar.set_description(" ".join(map(str, shape.numbers)))
            with Rounds(shape, threads, options, gemm) as rounds:
                rounds.run(steps, seconds / len(shapes))
                measured[shape] = rounds.row
                start_mb = rounds.worker.facts["start_mb"]
            bar.update()
    points = {dimension: [Point(getattr(shape, DIMENSIONS[dimension][0]), shape, min(measured[shape].ms),
                                measured[shape].peak_mb) for shape in line] for dimension, line in lines.items()}
    return Growth(base, threads, steps, this_machine(), gemm.gflops, start_mb, points)


def growth_report(growth: Growth) -> str:
    """What was measured, and a table in Markdown that also fits a terminal."""
    return (f"the quickest of up to {growth.steps} steps of each shape, around\n"
            f"{describe(growth.base, growth.machine, count(growth.threads, 'thread'))}\n\n{_table(growth)}")


def _table(growth: Growth) -> str:
    rows = ["| dimension | value | ms a step | growth |  GFLOP | share of peak | peak MB |",
            "|:----------|------:|----------:|-------:|-------:|--------------:|--------:|"]
    for dimension, line in growth.lines.items():
        for before, point in zip([None, *line], line, strict=False):
            factor = f"x {point.step_ms / before.step_ms:.2f}" if before else ""
            memory = "-" if point.peak_mb is None else f"{point.peak_mb:,.0f}"
            share = growth.floor_ms(point) / point.step_ms
            rows.append(f"| {dimension:<9} | {point.value:>5} | {point.step_ms:>9,.1f} | {factor:>6} | "
                        f"{digits(point.gflop):>6} | {share:>13.0%} | {memory:>7} |")
    return "\n".join(rows)
