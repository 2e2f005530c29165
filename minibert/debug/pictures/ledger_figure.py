"""Where the memory of a step goes: by operation, and over time."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minibert.debug.accounts.ledger import Ledger

COLOURS = ("#2f6f9f", "#9db4c8", "#b5342c", "#e0a030", "#cccccc")
MB = 1e6
BARS = 13  # at most


def ledger_figure(ledger: "Ledger") -> Any:
    """Above, what is kept for backward; below, what is alive while each operation runs, forward and then backward."""
    from matplotlib.figure import Figure

    totals: dict[str, int] = {}
    for name, entry in ledger.named_entries():
        totals[name] = totals.get(name, 0) + entry.bytes
    figure = Figure(figsize=(9, 7.2), layout="constrained")
    bars, time = figure.subplots(2, 1, height_ratios=(1, 1.15))
    _draw_bars(bars, sorted([item for item in totals.items() if item[1]], key=lambda item: -item[1]), ledger.by)
    _draw_time(time, ledger)
    for axes in (bars, time):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_bars(axes: Any, totals: list[tuple[str, int]], by: str) -> None:
    shown = totals
    if len(totals) > BARS:
        rest = totals[BARS - 1:]
        shown = [*totals[:BARS - 1], (f"{len(rest)} others", sum(size for _, size in rest))]
    drawn = axes.barh([name for name, _ in shown], [size / MB for _, size in shown], color=COLOURS[0])
    axes.bar_label(drawn, fmt="%.3g", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("kept for backward, MB")
    axes.set_title(f"Saved arrays, by {by}", fontsize=11)


def _draw_time(axes: Any, ledger: "Ledger") -> None:
    found, steps = ledger.moments, np.arange(len(ledger.moments))
    layers = {kind: np.array([moment.alive[kind] for moment in found]) / MB for kind in found[0].alive}
    layers["inside the operation"] = np.array([moment.inside for moment in found]) / MB
    axes.stackplot(steps, *layers.values(), labels=list(layers), colors=COLOURS, step="mid")
    turn, peak = sum(moment.forward for moment in found) - 0.5, ledger.peak
    axes.axvline(turn, color="black", linewidth=0.8)
    axes.plot(found.index(peak), peak.peak / MB, "kv", markersize=5)
    axes.annotate(f"peak {peak.peak / MB:.3g} MB: {peak.node.op.name}", (found.index(peak), peak.peak / MB), (0, 7),
                  textcoords="offset points", ha="center", fontsize=8)
    if ledger.measured is not None:
        axes.axhline(ledger.measured / MB, color="black", linewidth=0.9, linestyle=(0, (4, 3)),
                     label=f"measured peak, {ledger.measured / MB:.3g} MB")
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(0, 1.22 * max(peak.peak, ledger.measured or 0) / MB)
    axes.set_xlabel("operation: the forward pass, and from the line on the backward pass")
    axes.set_ylabel("alive, MB")
    axes.set_title("Memory over time, as predicted", fontsize=11)
    axes.legend(facecolor="white", framealpha=1.0, edgecolor="none", fontsize=8, loc="upper left")
