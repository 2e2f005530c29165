"""Figures in one look, from live arrays; matplotlib is imported when one is drawn, and pyplot never."""

import io
from typing import Any

import numpy as np

from minibert.backend import to_host
from minibert.tensor import Tensor

BLUE, RED, GREY, GREEN = "#3478c6", "#b5342c", "#57606a", "#1a7f37"
WIDTH = 7.2  # inches; at DPI the width of a page's text
DPI = 110
CELL = 0.62  # inches of a number in `matrices`
TALL = 0.62  # its height, in widths
GAP = 0.25  # inches between matrices
MOST_WRITTEN = 8  # columns of a matrix whose numbers are written into it


def figure(rows: int = 1, columns: int = 1, height: float = 2.6, width: float = WIDTH, **options: Any) -> Any:
    """A Figure of matplotlib and its axes, as `subplots` returns them; height: of one row, in inches."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height * rows), layout="constrained")
    axes = made.subplots(rows, columns, **options)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.2)
        one.tick_params(labelsize=8)
        one.xaxis.label.set_size(9)
        one.yaxis.label.set_size(9)
        one.set_prop_cycle(color=[BLUE, RED, GREY, GREEN])
    return made, axes


def matrices(**arrays: Any) -> Any:
    """A Figure of matrices side by side, each under its name: red for positive, blue for negative, numbers inside.

    A vector is drawn as one row. Each matrix has a scale of its own.
    """
    from matplotlib.figure import Figure

    pictures = {name: np.atleast_2d(_array(x)) for name, x in arrays.items()}
    widths = [max(x.shape[1] * CELL, 1.0) for x in pictures.values()]
    height = max(x.shape[0] for x in pictures.values()) * CELL * TALL + 0.4
    shrink = min(1.0, WIDTH / (sum(widths) + GAP * len(widths)))
    made = Figure(figsize=((sum(widths) + GAP * len(widths)) * shrink, max(height * shrink, 0.9)),
                  layout="constrained")
    grid = made.subplots(1, len(pictures), squeeze=False, width_ratios=widths)[0]
    for axes, (name, x) in zip(grid, pictures.items(), strict=True):
        heat(axes, x)
        axes.set_title(name.replace("_", " "), fontsize=9)
    return made


def heat(axes: Any, x: Any, unit: float | None = None, numbers: bool | None = None) -> Any:
    """Draw one matrix into axes; unit: the number that gets the full colour, by default the largest."""
    x = np.atleast_2d(_array(x))
    unit = unit or float(np.abs(x).max(initial=0.0)) or 1.0
    image = axes.imshow(x, cmap="RdBu_r", vmin=-unit, vmax=unit, aspect=TALL)
    axes.set_anchor("N")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    if numbers if numbers is not None else x.shape[1] <= MOST_WRITTEN:
        for i, j in np.ndindex(*x.shape):
            strong = abs(x[i, j]) > 0.6 * unit
            axes.text(j, i, f"{x[i, j]:.2f}", ha="center", va="center", fontsize=8,
                      color="white" if strong else "black")
    return image


def as_png(made: Any) -> bytes:
    """A Figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.05)
    return buffer.getvalue()


def _array(x: Any) -> Any:
    return np.asarray(to_host(x.data if isinstance(x, Tensor) else np.asarray(x)), np.float64)
