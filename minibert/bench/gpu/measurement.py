"""What a benchmark measured on a GPU, and the numbers that follow from it."""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from minibert.bench.flops import step_flops
from minibert.bench.gpu.ceilings import Ceilings
from minibert.bench.gpu.machine import Gpu
from minibert.bench.gpu.timing import STEPS, Round
from minibert.bench.profile import Profile
from minibert.bench.shape import Shape


@dataclass
class DeviceRow:
    """One way to take the step, or one peer.  losses: of the first steps, where they are known."""

    name: str
    version: str
    precision: str
    ours: bool
    loss: float  # before the first step, without dropout
    rounds: list[Round]
    peak_mb: float
    losses: list[float] = field(default_factory=list)

    @property
    def ms(self) -> list[float]:
        """Of a step, by rounds."""
        return [taken.ms for taken in self.rounds]

    @property
    def step_ms(self) -> float:
        """The median round's."""
        return median(self.ms)

    @property
    def host_ms(self) -> float:
        """How long the host is busy with asking for one step: the median round's."""
        return median(taken.host_ms for taken in self.rounds)


@dataclass
class DeviceMeasurement:
    """A whole benchmark on a GPU."""

    shape: Shape
    micro_batch: int
    recompute: bool
    gpu: Gpu
    ceilings: Ceilings
    rows: list[DeviceRow]  # ours first
    profile: Profile | None  # None where left_out says why
    left_out: dict[str, str] = field(default_factory=dict)  # without a row, and why

    def tokens_per_s(self, row: DeviceRow) -> float:
        """Positions that are learnt from in a second."""
        return self.shape.tokens / (1e-3 * row.step_ms)

    def tflops(self, row: DeviceRow) -> float:
        """10^12 operations a second in matrix products; peers compute the last layer at every position."""
        return 1e-12 * step_flops(self.shape, self.shape.masked, whole=not row.ours) / (1e-3 * row.step_ms)

    def share(self, row: DeviceRow) -> float:
        """Which part of the time the matrix products alone would need at the ceiling of their precision."""
        return self.tflops(row) / self.ceilings.gemm(row.precision)

    def ratio(self, row: DeviceRow) -> float | None:
        """How many times as long as our best way in the same precision; None where that has no time."""
        ours = [other.step_ms for other in self.rows if other.ours and other.precision == row.precision]
        return row.step_ms / min(ours) if ours else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "device": "cuda", "shape": asdict(self.shape), "micro_batch": self.micro_batch,
            "recompute": self.recompute, "gpu": asdict(self.gpu), "copy_gb_per_s": self.ceilings.copy_gbs,
            "gemm_tflops": {precision: {str(product): rate for product, rate in rates.items()}
                            for precision, rates in self.ceilings.tflops.items()},
            "steps_a_round": STEPS, "rows": {row.name: self._row(row) for row in self.rows},
            "ops": [row._asdict() for row in self.profile.ops] if self.profile else [],
            "rest_ms": self.profile.rest if self.profile else {}, "left_out": self.left_out}

    def _row(self, row: DeviceRow) -> dict[str, Any]:
        return {"version": row.version, "precision": row.precision, "step_ms": row.step_ms,
                "step_ms_min": min(row.ms), "step_ms_max": max(row.ms), "host_ms": row.host_ms,
                "rounds": len(row.rounds), "tokens_per_s": self.tokens_per_s(row), "tflops": self.tflops(row),
                "gemm_share": self.share(row), "peak_mb": row.peak_mb, "ratio": self.ratio(row), "loss": row.loss,
                "losses": row.losses}
