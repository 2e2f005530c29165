"""The measurement as a picture: who takes how long, and where our time goes."""

import io
from pathlib import Path
from typing import Any

from minibert.bench.measurement import Measurement
from minibert.bench.profile import Profile
from minibert.bench.report import digits, means
from minibert.files import write_atomically

ACCENT, PEER, FORWARD, BACKWARD, REST, INK = "#b5342c", "#9db4c8", "#9db4c8", "#3d6485", "#bbbbbb", "#555555"
SHOWN = 7  # operations with a bar of their own


def draw_measurement(m: Measurement, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"One training step: {m.shape}", fontsize=12)
    figure.supxlabel(f"{m.machine}; {means(m)}", fontsize=8, color=INK)
    _contenders(left, m)
    draw_operations(right, m.profile, "milliseconds of a step on one thread, and share")
    save(figure, path)


def _contenders(axes: Any, m: Measurement) -> None:
    """A bar for each, over a thin line from its quickest to its slowest step."""
    names = [row.name.replace("PyTorch ", "PyTorch\n").replace(" (", "\n(") for row in m.rows]
    times = [row.step_ms for row in m.rows]
    spread = [[row.step_ms - min(row.ms) for row in m.rows], [max(row.ms) - row.step_ms for row in m.rows]]
    axes.barh(names, times, color=[ACCENT] + [PEER] * len(m.peers), xerr=spread, ecolor=INK, height=0.6)
    axes.set_xlabel("milliseconds a step: median, and line from quickest to slowest")
    axes.set_title("Time and peak memory", fontsize=11)
    floor = m.gemm_share * m.ours.step_ms
    axes.axvline(floor, color=INK, linestyle="--", linewidth=0.9)
    axes.annotate("matrix products at this machine's peak", (floor, -0.45), (4, 0), textcoords="offset points",
                  va="center", fontsize=8, color=INK)
    longest = max(max(row.ms) for row in m.rows)
    for place, row in enumerate(m.rows):
        ratio = "" if row is m.ours else f", {row.ratio(m.ours):.3g} x ours"
        memory = "" if row.peak_mb is None else f"\n{row.peak_mb:,.0f} MB"
        axes.annotate(f"{digits(row.step_ms)} ms{ratio}{memory}", (max(row.ms), place), (6, 0),
                      textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, 1.4 * longest)
    axes.set_ylim(len(m.rows) - 0.4, -0.6)


def draw_operations(axes: Any, profile: Profile, unit: str) -> None:
    """Forward and backward of the longest operations, then all others together, then what is not in an operation."""
    table = {op: [sides[side].ms if side in sides else 0.0 for side in ("forward", "backward")]
             for op, sides in profile.by_op().items()}
    shown = dict(list(table.items())[:SHOWN])
    others = list(table.values())[SHOWN:]
    if others:
        shown[f"{len(others)} others"] = [sum(side) for side in zip(*others, strict=True)]
    forward, backward = zip(*shown.values(), strict=True)
    axes.barh(list(shown), forward, color=FORWARD, label="forward", height=0.7)
    axes.barh(list(shown), backward, left=forward, color=BACKWARD, label="backward", height=0.7)
    axes.barh(list(profile.rest), list(profile.rest.values()), color=REST, label="not an operation", height=0.7)
    sums = [f + b for f, b in shown.values()] + list(profile.rest.values())
    for place, ms in enumerate(sums):
        axes.annotate(f"{ms / profile.total_ms:.1%}", (ms, place), (4, 0), textcoords="offset points", va="center",
                      fontsize=8, color=INK)
    axes.set_xlim(0, 1.1 * max(sums))
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title("Where minibert's time goes", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="best")


def save(figure: Any, path: Path) -> None:
    """Write a figure without needless ink, as PNG, whole or not at all."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
