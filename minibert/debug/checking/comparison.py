"""A gradient that is claimed, beside the slope that is measured, and the report of many of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.checking.slope import Slope, root_mean_square, slope
from minibert.debug.html import FONT, html_table, span
from minibert.debug.show import table

TOLERANCE = 1e-8  # of a gradient's size: backward rounds, too
SETTLED = 1e-3  # of a slope: where more of it is in doubt, nothing was measured
SHOWN = 24  # rows of a long report
HEADERS = ("input", "along", "analytic", "numeric", "off by", "step h", "truncation", "round-off", "verdict")
COLOURS = {"ok": "color:#1a7f37", "WRONG": "color:#cf222e;font-weight:bold", "undecided": "color:#9a6700"}


@dataclass(frozen=True)
class Comparison:
    """One row.

    along: what was moved, a random direction or a single number.  analytic: <dx, v>, as backward has it.
    size: the Euclidean norm of the terms of <dx, v>.  problem: a fault seen without measuring any slope.
    """

    input: str
    along: str = ""
    analytic: float = 0.0
    slope: Slope = field(default_factory=Slope)
    size: float = 0.0
    problem: str = ""

    @property
    def difference(self) -> float:
        """analytic - numeric, without its sign."""
        return abs(self.analytic - self.slope.value)

    @property
    def doubt(self) -> str:
        """Why no verdict is possible; empty where one is."""
        s = self.slope
        if self.problem:
            return ""
        if not isfinite(s.error):
            return "forward gives NaN or infinity at every step"
        if s.truncation > max(SETTLED * abs(s.value), 10.0 * s.round_off):
            return "a kink within h, or a pole: the slope does not settle"
        beyond = self.difference > self._allowed + 2.0 * s.kink and s.kink <= 10.0 * abs(s.value)
        if s.kink > TOLERANCE * max(self.size, abs(s.value)) and not beyond:
            return "a kink within h: the slopes on its two sides differ, and numeric is their mean"
        return ""

    @property
    def verdict(self) -> str:
        """ "ok", "WRONG", or "undecided"."""
        if self.doubt:
            return "undecided"
        return "ok" if not self.problem and self.difference <= self._allowed else "WRONG"

    @property
    def _allowed(self) -> float:
        size = max(self.size, abs(self.slope.value))
        return self.slope.truncation + self.slope.round_off + TOLERANCE * size

    def cells(self) -> list[str]:
        """As it stands in the table."""
        s = self.slope
        if self.problem:
            return [self.input, self.along, "", "", "", "", "", "", self.verdict]
        return [self.input, self.along, f"{self.analytic:+.5e}", f"{s.value:+.5e}", f"{self.difference:.1e}",
                f"{s.step:.1e}", f"{s.truncation:.1e}", f"{s.round_off:.1e}", self.verdict]


@dataclass(frozen=True)
class Claim:
    """Somebody says that dx is the gradient of sum(terms(x)) at this x."""

    name: str
    x: Array
    dx: Array | None
    terms: Callable[[Array], Array]
    failure: str = ""  # why there is no dx, if an exception is the reason

    def problem(self) -> str:
        """What is wrong with dx at first sight; empty if nothing is."""
        if self.failure:
            return self.failure
        if self.dx is None:
            return "no gradient was returned"
        if np.shape(self.dx) != self.x.shape:
            return f"its gradient has shape {np.shape(self.dx)}, and it has {self.x.shape}"
        if self.dx.dtype != self.x.dtype:
            return f"its gradient is {self.dx.dtype}, and it is {self.x.dtype}"
        return "" if np.isfinite(self.dx).all() else "its gradient holds NaN or infinity"

    def along(self, v: Array, label: str) -> Comparison:
        """The slope in the direction v."""
        problem = self.problem()
        if self.dx is None or problem:
            return Comparison(self.name, label, problem=problem)
        x, products = self.x, self.dx * v
        measured = slope(lambda t: self.terms(np.asarray(x + t * v)), root_mean_square(x))
        return Comparison(self.name, label, float(products.sum()), measured, float(np.linalg.norm(products)))

    def directions(self, rng: np.random.Generator, count: int) -> list[Comparison]:
        """Along random directions, in which every number moves."""
        return [self.along(random_like(rng, self.x.shape), f"random {i}") for i in range(1, count + 1)]

    def entry(self, index: tuple[int, ...]) -> Comparison:
        """A single number of the gradient."""
        v = np.zeros_like(self.x)
        v[index] = 1.0
        return self.along(v, f"[{', '.join(map(str, index))}]")


@dataclass(frozen=True)
class CheckReport:
    """Gradients beside slopes, row by row."""

    title: str
    place: str  # file:line
    rows: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right, as far as float64 can tell."""
        return all(row.verdict == "ok" for row in self.rows)

    @property
    def verdict(self) -> str:
        """The worst of the rows'."""
        verdicts = {row.verdict for row in self.rows}
        return next((v for v in ("WRONG", "undecided") if v in verdicts), "ok")

    def assert_ok(self) -> None:
        """Raise AssertionError, with the whole report, unless every gradient is right."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        shown, notes = self._shown()
        return "\n".join([f"{self.title}: {self.verdict}", f"  called at {self.place}",
                          table(self._cells(shown), HEADERS[-self._columns:], indent=2),
                          *(f"  {note}" for note in notes)])

    def _repr_html_(self) -> str:
        shown, notes = self._shown()
        styles = [[*[""] * (self._columns - 1), COLOURS[row.verdict]] for row in shown]
        place = f"<div>{span(f'called at {self.place}')}</div>"
        head = f"<div>{span(self.title, 'font-weight:bold')}: {span(self.verdict, COLOURS[self.verdict])}</div>"
        lines = "".join(f"<div>{span(line)}</div>" for line in notes)
        rows = html_table(self._cells(shown), HEADERS[-self._columns:], styles)
        return f'<div style="{FONT}">{head}{place}{rows}{lines}</div>'

    @property
    def _columns(self) -> int:
        """All, or all but the first where that would say what the title says."""
        return len(HEADERS) - (len({row.input for row in self.rows}) == 1)

    def _cells(self, rows: Sequence[Comparison]) -> list[list[str]]:
        return [row.cells()[-self._columns:] for row in rows]

    def _shown(self) -> tuple[Sequence[Comparison], list[str]]:
        """The rows to show, the worst of them first where there are too many, and what to say below."""
        shown: Sequence[Comparison] = self.rows
        if len(shown) > SHOWN:
            shown = sorted(shown, key=lambda row: ("WRONG", "undecided", "ok").index(row.verdict))[:SHOWN]
        notes = dict.fromkeys(f"{row.input}: {row.problem or row.doubt}" for row in shown if row.problem or row.doubt)
        rest = len(self.rows) - len(shown)
        counts = {v: sum(row.verdict == v for row in self.rows) for v in ("ok", "WRONG", "undecided")}
        summary = ", ".join(f"{n:,} {verdict}" for verdict, n in counts.items() if n)
        return shown, [*notes, *([f"... and {rest:,} more; of all, {summary}"] if rest else [])]
