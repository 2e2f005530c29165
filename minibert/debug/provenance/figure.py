"""Pictures of a gradient entry's terms."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.backend import Array

POSITIVE, NEGATIVE = "#d64541", "#3478c6"
SHARE = "share of the gradient entry"


def lying_bars(title: str, rows: Sequence[tuple[float, str]]) -> Any:
    """A bar for each term, beside its label."""
    axes = _axes(title, 1.2 + 0.28 * len(rows))
    values = [value for value, _ in rows]
    axes.barh(range(len(rows)), values, color=_colours(values))
    axes.set_yticks(range(len(rows)), [label for _, label in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(SHARE)
    axes.axvline(0.0, color="black", linewidth=0.8)
    return axes.figure


def upright_bars(title: str, values: Sequence[float], coordinate: str, places: Sequence[int | str]) -> Any:
    """A bar for each place, in their order."""
    axes = _axes(title, 3.2)
    axes.bar(range(len(values)), values, color=_colours(values))
    _ticks(axes.xaxis, places)
    axes.set_xlabel(coordinate)
    axes.set_ylabel(SHARE)
    axes.axhline(0.0, color="black", linewidth=0.8)
    return axes.figure


def heat_map(title: str, names: Sequence[str], rows: Sequence[int], columns: Sequence[int], table: Array) -> Any:
    """Two coordinates: red for positive terms, blue for negative ones, white for 0."""
    axes = _axes(title, min(8.0, max(2.6, 1.4 + 0.3 * len(rows))))
    axes.grid(False)
    largest = float(np.abs(table).max()) or 1.0
    image = axes.imshow(table, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    _ticks(axes.yaxis, rows)
    _ticks(axes.xaxis, columns)
    axes.set_ylabel(names[0])
    axes.set_xlabel(names[1])
    axes.figure.colorbar(image, ax=axes, label=SHARE)
    return axes.figure


def _axes(title: str, height: float) -> Any:
    """Of a new figure."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(8.0, height), layout="constrained").subplots()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.2)
    return axes


def _colours(values: Sequence[float]) -> list[str]:
    return [POSITIVE if value > 0 else NEGATIVE for value in values]


def _ticks(axis: Any, labels: Sequence[Any]) -> None:
    """At most two dozen labels, at equal distances."""
    every = -(-len(labels) // 24)
    axis.set_ticks(range(0, len(labels), every), [str(label) for label in labels[::every]])
