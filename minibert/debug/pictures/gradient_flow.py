"""How large the gradient is on its way back: at the output of every block, and for every parameter.

A size is a root mean square, so that arrays of any shape compare.
"""

import math
import re
from collections.abc import Collection
from typing import Any

from minibert.debug.execution import Execution
from minibert.debug.pictures.blocks import group
from minibert.debug.pictures.wires import BROKEN, COLOURS, rms
from minibert.tensor import Tensor

ROUNDING = 1e-8  # of the largest: what is smaller stands at the edge, one power of ten below the smallest of the others
OUTSIDE = "#555555"  # of parameters that belong to no layer
LAYER = re.compile(r".*layer\.(\d+)\.(.*)$")


def gradient_flow(loss: Tensor) -> Any:
    """A matplotlib Figure: on the left the blocks, as the backward pass meets them, on the right the parameters.

    Each layer has a colour of its own; weights and biases are apart.
    Raises InputError when there is no graph.
    """
    from matplotlib.figure import Figure

    execution = Execution(loss)
    found = execution.backward().of
    blocks = [(block.title, block.kind, rms(found[block.output])) for block in
              dict.fromkeys(reversed(group(execution.nodes).values()))
              if block.output in found and block.output.shape]  # that of a loss is 1, always
    sizes = {x.name: rms(dx) for x, dx in found.items() if isinstance(x, Tensor) and x.name}
    biases = {name: size for name, size in sizes.items() if name.endswith("bias")}
    weights = {name: size for name, size in sizes.items() if name not in biases}
    heights = len(_rows(weights)) + 1, len(_rows(biases)) + 1
    figure = Figure(figsize=(9.2, 2.0 + 0.22 * max(len(blocks), sum(heights))), layout="constrained")
    halves: Any = figure.subfigures(1, 2)
    left, right = halves
    _draw_blocks(left.subplots(), blocks)
    panels = right.subplots(2, 1, sharex=True, height_ratios=heights)
    edge = _edge(sizes.values())
    _draw_parameters(panels[0], "Gradient of weights and gains", weights, edge)
    _draw_parameters(panels[1], "Gradient of biases", biases, edge)
    panels[1].set_xlabel("root mean square of the gradient", fontsize=9)
    right.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=7,
                 handletextpad=0.1, columnspacing=1.0)
    return figure


def _draw_blocks(axes: Any, blocks: list[tuple[str, str, float]]) -> None:
    """The first block of the backward pass on top."""
    places = list(range(len(blocks)))
    sizes = [size for _, _, size in blocks]
    shown = _places(sizes, _edge(sizes))
    axes.plot(shown, places, color="#d0d7de", linewidth=1.2, zorder=1)
    axes.scatter(shown, places, c=[COLOURS[kind][1] if math.isfinite(size) else BROKEN for _, kind, size in blocks],
                 s=26, zorder=2)
    broken = "" if all(map(math.isfinite, sizes)) else "\npurple: NaN or infinite"
    axes.set_title(f"Gradient at the output of each block{broken}", fontsize=10)
    axes.set_ylabel("backward pass, downwards", fontsize=9)
    axes.set_xlabel("root mean square of the gradient", fontsize=9)
    _rows_and_decades(axes, [title for title, _, _ in blocks])


def _draw_parameters(axes: Any, title: str, sizes: dict[str, float], edge: float) -> None:
    """A row for each name that a parameter has within its layer, with a dot for each layer."""
    from matplotlib import colormaps

    rows = _rows(sizes)
    layers = sorted({layer for names in rows.values() for layer in names if layer is not None})
    for layer in [None, *layers]:
        mine = [(i, sizes[names[layer]]) for i, names in enumerate(rows.values()) if layer in names]
        colour = OUTSIDE if layer is None else colormaps["viridis"](0.9 * layers.index(layer) / max(len(layers) - 1, 1))
        label = "outside the layers" if layer is None else f"layer {layer}"
        axes.scatter(_places([size for _, size in mine], edge), [i for i, _ in mine], s=22, alpha=0.85, label=label,
                     color=[colour if math.isfinite(size) else BROKEN for _, size in mine] or colour)
    axes.set_title(title, fontsize=10)
    _rows_and_decades(axes, list(rows))
    if any(size <= edge for size in sizes.values()):
        axes.axvline(edge, color=OUTSIDE, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate("0, or rounding", (edge, 0.0), (3, 2), xycoords=("data", "axes fraction"),
                      textcoords="offset points", fontsize=7, color=OUTSIDE)


def _rows(sizes: dict[str, float]) -> dict[str, dict[int | None, str]]:
    """The full name of each parameter, by its short name and its layer."""
    rows: dict[str, dict[int | None, str]] = {}
    for name in sizes:
        layer = LAYER.match(name)
        short = (layer[2] if layer else name).removeprefix("bert.").removeprefix("cls.")
        short = short.removesuffix(".weight").removesuffix(".bias")
        rows.setdefault(short, {})[int(layer[1]) if layer else None] = name
    return rows


def _edge(sizes: Collection[float]) -> float:
    """Where what is 0, or nothing but rounding, is drawn."""
    finite = [size for size in sizes if math.isfinite(size)]
    return min((size for size in finite if size > ROUNDING * max(finite)), default=1.0) / 10.0


def _places(sizes: Collection[float], edge: float) -> list[float]:
    """Where sizes are drawn: none below the edge, and those that are no numbers ten times above the others."""
    top = 10.0 * max([edge, *(size for size in sizes if math.isfinite(size))])
    return [max(size, edge) if math.isfinite(size) else top for size in sizes]


def _rows_and_decades(axes: Any, names: list[str]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100.0 * low else (1.0,)))
    axes.xaxis.set_major_formatter(lambda x, place: f"{x:.0e}".replace("e-0", "e-"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
