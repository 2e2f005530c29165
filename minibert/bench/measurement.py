"""What a benchmark measured, and the numbers that follow from it."""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from minibert.bench.flops import step_flops
from minibert.bench.machine import Machine
from minibert.bench.profile import Profile
from minibert.bench.shape import Shape


@dataclass
class Row:
    """One contender: the milliseconds of its timed steps, in the order of the rounds, and its peak memory."""

    name: str
    version: str  # of the libraries, in words
    ms: list[float]
    peak_mb: float | None = None

    @property
    def step_ms(self) -> float:
        """The median step."""
        return median(self.ms)

    def ratio(self, ours: "Row") -> float:
        """How many times as long as `ours`: the median over the rounds of the ratio within each.

        Steps of one round run within a second or so, so a machine that speeds up or slows down changes both.
        """
        return median(theirs / our for theirs, our in zip(self.ms, ours.ms, strict=True))


@dataclass
class Measurement:
    """A whole benchmark."""

    shape: Shape
    threads: int
    micro_batch: int
    machine: Machine
    ours: Row
    gemm_peak_gflops: float
    profile: Profile
    peers: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # peers without a row, and why
    recompute: bool = False  # whether minibert computed its layers twice, see minibert.nn.recompute

    @property
    def rows(self) -> list[Row]:
        """All that have a time, ours first."""
        return [self.ours, *self.peers]

    @property
    def tokens_per_s(self) -> float:
        """Positions that are learnt from in a second."""
        return self.shape.tokens / (1e-3 * self.ours.step_ms)

    @property
    def gflop_per_step(self) -> float:
        """10^9 operations that minibert's step computes, but for those of recomputation; see `step_flops`."""
        return 1e-9 * step_flops(self.shape, self.shape.masked)

    @property
    def whole_gflop_per_step(self) -> float:
        """10^9 operations of a step that computes the last layer at every position, as the peers do."""
        return 1e-9 * step_flops(self.shape, self.shape.masked, whole=True)

    @property
    def gflops(self) -> float:
        """10^9 operations a second."""
        return self.gflop_per_step / (1e-3 * self.ours.step_ms)

    @property
    def gemm_share(self) -> float:
        """Which part of the time the matrix products alone would need at the machine's peak."""
        return self.gflops / self.gemm_peak_gflops

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "shape": asdict(self.shape), "threads": self.threads, "micro_batch": self.micro_batch,
            "recompute": self.recompute,
            "step_ms": self.ours.step_ms, "step_ms_min": min(self.ours.ms), "step_ms_max": max(self.ours.ms),
            "steps": len(self.ours.ms), "tokens_per_s": self.tokens_per_s, "gflop_per_step": self.gflop_per_step,
            "whole_gflop_per_step": self.whole_gflop_per_step,
            "gflops": self.gflops, "gemm_peak_gflops": self.gemm_peak_gflops, "gemm_share": self.gemm_share,
            "peak_mb": self.ours.peak_mb, "cpu": self.machine.cpu, "blas": asdict(self.machine.blas),
            "warnings": self.machine.warnings, "ops": [row._asdict() for row in self.profile.ops],
            "rest_ms": self.profile.rest,
            "peers": {row.name: {"version": row.version, "step_ms": row.step_ms, "peak_mb": row.peak_mb,
                                 "ratio": row.ratio(self.ours)} for row in self.peers},
            "left_out": self.left_out}
