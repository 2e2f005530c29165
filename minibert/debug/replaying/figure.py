"""A picture of how a difference grows along a training step."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.debug.replaying.timeline import BACKWARD, FORWARD, GRADIENT, UPDATE

if TYPE_CHECKING:
    from minibert.debug.replaying.compare import Comparison, Difference

COLOURS = {FORWARD: "#2f6fb0", BACKWARD: "#b5342c", GRADIENT: "#7a5195", UPDATE: "#222222"}
NAMES = {FORWARD: "forward: values", BACKWARD: "backward: gradients", GRADIENT: "gradients, added up",
         UPDATE: "AdamW: updates"}
SAME = "#b8c0c8"
LABELS = 12  # micro-batches that have a label below the axis


def growth_figure(comparison: "Comparison") -> Any:
    """Records in order from left to right, each as high as its relative difference; the same ones stand on the axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.add_subplot()
    differences = comparison.differences
    _points(axes, differences)
    _point_to_first(axes, differences)
    _sections(axes, [d.record.phase if d.record.part is None else d.record.part for d in differences])
    axes.set(xlim=(-1, len(differences)), ylabel="relative difference of the norm",
             xlabel="operations in order: forward and backward of each micro-batch (by number), then the optimiser")
    axes.set_title(fill(comparison.title(), 90), fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _points(axes: Any, differences: tuple["Difference", ...]) -> None:
    heights = np.array([d.relative for d in differences])
    differs = np.array([d.differs for d in differences])
    phases = np.array([d.record.phase for d in differences])
    measured = (heights > 0.0) & np.isfinite(heights)
    for phase, colour in COLOURS.items():
        x = np.flatnonzero(measured & (phases == phase))
        if x.size:
            axes.plot(x, heights[x], "o", markersize=3.5, color=colour, label=NAMES[phase])
    for where, height, marker, name in ((differs & ~measured, 0.9, "v", "differ beyond measure"),
                                        (~differs, 0.0, "|", "the same")):
        x = np.flatnonzero(where)
        if x.size:
            axes.plot(x, np.full(x.size, height), marker, markersize=6, color=SAME, clip_on=False, label=name,
                      transform=axes.get_xaxis_transform())
    if measured.any():
        powers = np.log10(heights[measured])
        axes.set(yscale="log", ylim=(10 ** (np.floor(powers.min()) - 0.1), 10 ** (np.ceil(powers.max()) + 0.5)))
    else:
        axes.set_yticks([])


def _sections(axes: Any, sections: list[Any]) -> None:
    """A line before each micro-batch and phase of the optimiser, and its name below."""
    starts = [i for i, section in enumerate(sections) if i == 0 or section != sections[i - 1]]
    ends = [*starts[1:], len(sections)]
    parts = [section for section in sections if isinstance(section, int)]
    every = -(-(max(parts, default=0) + 1) // LABELS)
    ticks, names = [], []
    for start, end in zip(starts, ends, strict=True):
        axes.axvline(start - 0.5, color="#d8dee4", linewidth=0.8, zorder=0)
        if not isinstance(sections[start], int) or sections[start] % every == 0:
            ticks.append((start + end - 1) / 2)
            names.append(str(sections[start]))
    axes.set_xticks(ticks, names, fontsize=8)
    axes.tick_params(axis="x", length=0)


def _point_to_first(axes: Any, differences: tuple["Difference", ...]) -> None:
    """The name of the first record that differs, at a line where it stands."""
    for i, difference in enumerate(differences):
        if difference.differs:
            left = i < len(differences) / 2
            axes.axvline(i, color="#57606a", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            axes.annotate(f"first: {difference.record.name}", (i, 1.0), (4 if left else -4, -2), fontsize=8,
                          xycoords=axes.get_xaxis_transform(), textcoords="offset points", color="#57606a",
                          ha="left" if left else "right", va="top")
            return
