"""How far some weights move in one step, and why."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minibert.debug.weight_update import Microscope

GRADIENT, MOMENT, ROOT, UPDATE, DECAY = "#b5342c", "#2f6f9f", "#9db4c8", "#2f6f9f", "#e0a030"


def microscope_figure(seen: "Microscope") -> Any:
    """Three panels over the numbers of a row: what came in, what the moments make of it, and the movement."""
    from matplotlib.figure import Figure

    values = {name: np.asarray(x, np.float64).reshape(-1) for name, x in seen.values.items()}
    at = np.arange(values["w"].size)
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    figure.suptitle(f"{seen.place}, step {seen.settings['t']:.0f}", fontsize=11)
    gradient, moments, movement = figure.subplots(3, 1, sharex=True)
    gradient.bar(at, values["g_clipped"], color=GRADIENT, label="g * scale")
    gradient.set_ylabel("gradient")
    moments.bar(at, 2.0 * values["root"], bottom=-values["root"], color=ROOT, alpha=0.5, label="within sqrt(v_hat)")
    moments.bar(at, values["m_hat"], color=MOMENT, width=0.45, label="m_hat")
    moments.set_ylabel("moments")
    movement.bar(at, -values["update"], color=UPDATE, label="- lr m_hat / (sqrt(v_hat) + eps)")
    movement.bar(at, values["decay"], color=DECAY, width=0.45, label="- lr weight_decay w")
    movement.set_ylabel("change of the weight")
    for sign in (-1.0, 1.0):
        movement.axhline(sign * seen.settings["lr"], color="#777777", linewidth=0.8, linestyle=(0, (4, 3)),
                         label="the learning rate" if sign > 0 else None)
    movement.set_xlabel("place in the row")
    for axes in (gradient, moments, movement):
        axes.axhline(0.0, color="black", linewidth=0.6)
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3)
        axes.margins(y=0.1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    return figure
