"""Growth as a picture: time above, memory below, one column for each dimension."""

import math
from pathlib import Path
from typing import Any

from minibert.bench.chart import ACCENT, INK, save
from minibert.bench.growth import Growth, Point
from minibert.bench.report import count

UNITS = {"batch": "sequences", "length": "tokens a sequence", "width": "numbers a token", "depth": "layers"}


def draw_growth(growth: Growth, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(2, len(growth.lines), sharex="col", sharey="row")
    figure.suptitle(f"How a training step grows, around {growth.base}", fontsize=12)
    figure.supxlabel(f"{growth.machine}; {count(growth.threads, 'thread')}", fontsize=8, color=INK)
    for (above, below), (dimension, line) in zip(panels.T, growth.lines.items(), strict=True):
        _time(above, growth, line)
        _memory(below, growth, line)
        above.set_title(dimension, fontsize=11)
        values = [point.value for point in line]
        below.set_xticks(values, list(map(str, values)))
        below.set_xlabel(UNITS[dimension])
    panels[0, 0].set_ylabel("quickest step, milliseconds")
    panels[1, 0].set_ylabel("peak memory, MB")
    for axes in panels[:, 0]:
        axes.legend(frameon=False, fontsize=8, loc="best")
    for axes in figure.axes:
        axes.grid(alpha=0.2)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,.4g}")
    save(figure, path)


def _time(axes: Any, growth: Growth, line: list[Point]) -> None:
    """What was measured, above what its matrix products would take at the machine's peak."""
    values = [point.value for point in line]
    axes.loglog(values, [point.step_ms for point in line], "o-", color=ACCENT, markersize=4, label="measured", base=2)
    axes.loglog(values, [growth.floor_ms(point) for point in line], "--", color=INK, linewidth=1,
                label="its matrix products at peak", base=2)


def _memory(axes: Any, growth: Growth, line: list[Point]) -> None:
    """Peak memory, above what a process holds before there is a model."""
    peaks = [math.nan if point.peak_mb is None else point.peak_mb for point in line]
    axes.loglog([point.value for point in line], peaks, "o-", color=ACCENT, markersize=4, label="measured", base=2)
    if growth.start_mb is not None:
        axes.axhline(growth.start_mb, color=INK, linestyle=":", linewidth=1, label="Python and NumPy alone")
