"""The measurement on a GPU as a picture: who takes how long, and where our time goes."""

from pathlib import Path
from typing import Any

from minibert.bench.chart import ACCENT, INK, PEER, draw_operations, save
from minibert.bench.gpu.measurement import DeviceMeasurement
from minibert.bench.gpu.report import device_means
from minibert.bench.report import digits

HOST, FLOOR = "#e0a030", "#222222"


def draw_device(m: DeviceMeasurement, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.2 + 0.42 * max(len(m.rows), 7)), layout="constrained")
    left, *right = figure.subplots(1, 2 if m.profile else 1, squeeze=False)[0]
    figure.suptitle(f"One training step: {m.shape}", fontsize=12)
    figure.supxlabel(device_means(m), fontsize=8, color=INK)
    _times(left, m)
    if m.profile:
        draw_operations(right[0], m.profile, "milliseconds of a step, kernels called one by one, and share")
    save(figure, path)


def _times(axes: Any, m: DeviceMeasurement) -> None:
    """A bar for each; on it, what the host takes to ask for a step, and what matrix products alone would take."""
    places, times = range(len(m.rows)), [row.step_ms for row in m.rows]
    spread = [[row.step_ms - min(row.ms) for row in m.rows], [max(row.ms) - row.step_ms for row in m.rows]]
    axes.barh(places, times, color=[ACCENT if row.ours else PEER for row in m.rows], xerr=spread, ecolor=INK,
              height=0.6)
    axes.plot([row.host_ms for row in m.rows], places, "o", color=HOST, markersize=6, markeredgecolor="white",
              label="the host, asking for it")
    floors = [m.share(row) * row.step_ms for row in m.rows]
    axes.vlines(floors, [p - 0.3 for p in places], [p + 0.3 for p in places], color=FLOOR, linestyle=":",
                linewidth=1.5, label="matrix products at the ceiling")
    for place, row in enumerate(m.rows):
        right = max(*row.ms, row.host_ms)
        axes.annotate(f"{digits(row.step_ms)} ms, {row.peak_mb:,.0f} MB", (right, place), (7, 0),
                      textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, [row.name for row in m.rows])
    axes.set_xlim(0, 1.45 * max(max(*row.ms, row.host_ms) for row in m.rows))
    axes.set_ylim(len(m.rows) - 0.4, -0.6)
    axes.set_xlabel("milliseconds a step: median, and line from quickest to slowest round")
    axes.set_title("Time and memory", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
