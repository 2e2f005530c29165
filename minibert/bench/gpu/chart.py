"""The measurement on a GPU as a picture: who takes how long, and where our time goes."""

from pathlib import Path
from typing import Any

from minibert.bench.chart import ACCENT, INK, PEER, draw_operations, save
from minibert.bench.gpu.measurement import DeviceMeasurement
from minibert.bench.gpu.report import device_means
from minibert.bench.report import digits

HOST = "#e0a030"


def draw_device(m: DeviceMeasurement, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.8 + 0.4 * max(len(m.rows), 7)), layout="constrained")
    left, *right = figure.subplots(1, 2 if m.profile else 1, squeeze=False)[0]
    figure.suptitle(f"One training step: {m.shape}", fontsize=12)
    figure.supxlabel(device_means(m), fontsize=8, color=INK)
    _times(left, m)
    if m.profile:
        draw_operations(right[0], m.profile, "milliseconds of a step, kernels called one by one, and share")
    save(figure, path)


def _times(axes: Any, m: DeviceMeasurement) -> None:
    """A row for each, on a logarithmic axis, because formulas may take ten times as long as a graph."""
    places, times = range(len(m.rows)), [row.step_ms for row in m.rows]
    hosts, floors = [row.host_ms for row in m.rows], [m.share(row) * row.step_ms for row in m.rows]
    axes.hlines(places, [min(row.ms) for row in m.rows], [max(row.ms) for row in m.rows], color=INK, linewidth=1)
    axes.scatter(times, places, s=70, color=[ACCENT if row.ours else PEER for row in m.rows], zorder=3,
                 label="a step: median, and line from quickest to slowest round")
    axes.scatter(hosts, places, s=30, color="white", edgecolor=HOST, linewidth=2, zorder=4,
                 label="the host's time to ask for it")
    axes.scatter(floors, places, s=120, marker="|", color=INK, linewidth=2,
                 label="its matrix products at the ceiling of their precision")
    for place, row in enumerate(m.rows):
        axes.annotate(f"{digits(row.step_ms)} ms, {row.peak_mb:,.0f} MB", (max(*row.ms, row.host_ms), place), (9, 0),
                      textcoords="offset points", va="center", fontsize=9)
    axes.set_xscale("log")
    first, last = min(*floors, *hosts), max(*times, *hosts)
    axes.set_xlim(0.7 * first, last * (last / first) ** 0.6)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", color="#e5e5e5", zorder=0)
    axes.set_yticks(places, [row.name for row in m.rows])
    axes.set_ylim(len(m.rows) - 0.4, -0.6)
    axes.set_xlabel("milliseconds a step (logarithmic)")
    axes.set_title("Time and memory", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))
