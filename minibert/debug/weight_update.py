"""One weight in one step of AdamW, term by term: where it goes, and what pulls it there.

    loss.backward()
    scale = clip_scale(gradient_norm(model.parameters()), 1.0)
    microscope(optimizer, model.bert.pooler.dense.weight[3, 5], scale)       # before optimizer.step(scale)

Nothing is changed by looking, and the weight shown at the end has the bits that the step will give it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.html import FONT, html_table, span
from minibert.debug.show import table
from minibert.errors import InputError
from minibert.optim import AdamW
from minibert.summary import number
from minibert.tensor import Tensor

FORMULAS = {  # each quantity of an update, in the order in which AdamW computes it
    "g": "the gradient, as backward left it",
    "g_clipped": "g * scale",
    "m_before": "first moment: the mean of past gradients",
    "m": "b1 m_before + (1 - b1) g_clipped",
    "v_before": "second moment: the mean of past squares",
    "v": "b2 v_before + (1 - b2) g_clipped^2",
    "m_hat": "m * m_scale",
    "root": "sqrt(v * v_scale)",
    "ratio": "m / (root + eps)",
    "w": "the weight before the step",
    "decay": "w_decayed - w",
    "w_decayed": "w (1 - lr weight_decay)",
    "update": "ratio * (lr m_scale)",
    "w_new": "w_decayed - update",
    "change": "w_new - w"}
HEADERS = ("", "value", "formula")


@dataclass(frozen=True)
class Microscope:
    """What the next step does to some weights of one parameter, in arrays of the parameter's own dtype.

    values: an array for each name in FORMULAS.  settings: the numbers that are the same for every weight.
    `figure()` draws several weights side by side.
    """

    place: str
    values: dict[str, Array]
    settings: dict[str, float]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value, formula): of one weight the values, of several the length and the largest number."""
        fixed = [(name, number(x), SETTINGS[name]) for name, x in self.settings.items()]
        return fixed + [(name, self._value(name), formula) for name, formula in FORMULAS.items()]

    def reasons(self) -> list[str]:
        """What can be said of this movement in words."""
        return [line for line in (self._about_gradient(), self._about_moments(), self._about_decay()) if line]

    def figure(self) -> Any:
        """Gradients, moments and movement of each weight: a matplotlib Figure."""
        from minibert.debug.pictures.microscope_figure import microscope_figure

        return microscope_figure(self)

    def __str__(self) -> str:
        return "\n".join([self.place, table(self.rows, self._headers()), *self.reasons()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        words = "".join(f"<div>{span(line)}</div>" for line in self.reasons())
        return f'<div style="{FONT}"><b>{span(self.place)}</b>{html_table(self.rows, self._headers())}{words}</div>'

    def _headers(self) -> tuple[str, str, str]:
        size = self.values["w"].size
        return HEADERS if size == 1 else ("", f"length of {size} (largest)", "formula, for each number")

    def _value(self, name: str) -> str:
        x = self.values[name]
        if x.size == 1:
            return f"{x.item():+.9g}"
        return f"{number(length(x))} ({number(float(np.abs(x).max()))})"

    def _about_gradient(self) -> str:
        if self.values["g"].any():
            kept = self.settings["scale"]
            return f"Clipping shortened the gradient to {kept:.1%}." if kept < 1.0 else ""
        return "The gradient is 0: this step moves the weights by the momentum of earlier gradients and by decay alone."

    def _about_moments(self) -> str:
        m, g = self.values["m"].astype(float).ravel(), self.values["g_clipped"].astype(float).ravel()
        if not (m.any() and g.any()):
            return ""
        full = float((np.abs(self.values["update"]) >= 0.9 * self.settings["lr"]).mean())
        agreement = float(m @ g) / (length(m) * length(g))
        if m.size == 1:
            return "Momentum and this gradient " + ("agree in sign." if agreement > 0.0 else "have opposite signs.")
        return (f"Momentum and this gradient have cosine {agreement:+.2f}; {full:.0%} of the numbers move by the "
                f"learning rate or nearly so.")

    def _about_decay(self) -> str:
        if not self.settings["weight_decay"]:
            return "No decay: biases and gains have none, or it is switched off."
        update, decay = length(self.values["update"]), length(self.values["decay"])
        return f"Decay makes up {decay / (update + decay):.1%} of the way." if update + decay else ""


SETTINGS = {"t": "the number of this step", "lr": "learning rate", "scale": "what clipping leaves of the gradient",
            "b1": "decay of the first moment", "b2": "decay of the second moment", "eps": "added to the root",
            "weight_decay": "of this parameter", "m_scale": "1 / (1 - b1^t), or 1 without bias correction",
            "v_scale": "1 / (1 - b2^t), or 1 without bias correction"}


def microscope(optimizer: AdamW, weights: Tensor, scale: float = 1.0) -> Microscope:
    """What `optimizer.step(scale)` is going to do to `parameter[i, j]`, or to a row `parameter[i]`.

    weights: a parameter of the optimiser, indexed, after backward and before the step.
    Raises InputError when the weights are no part of such a parameter, or when it has no gradient.
    """
    p, index = _taken_from(weights)
    found = [i for i, mine in enumerate(optimizer.parameters) if mine is p]
    if not found:
        raise InputError(f"{p.name or 'this tensor'} is none of the optimiser's parameters, so its step does nothing "
                         f"to it: pass parameter[i, j] of one that it was made with")
    if p.grad is None:
        raise InputError(f"{p.name or 'this parameter'} has no gradient, so the step leaves it as it is: call "
                         f"microscope after loss.backward() and before optimizer.step()")
    if not weights.size:
        raise InputError(f"{p.name or 'the parameter'}{_spelled(index)} holds no number: pick at least one")
    w, g, m, v = (np.array(to_host(x[index])) for x in (p.data, p.grad, optimizer.m[found[0]], optimizer.v[found[0]]))
    settings = _settings(optimizer, optimizer.parameters[found[0]].decay, scale)
    return Microscope(f"{p.name or 'parameter'}{_spelled(index)}, {p.dtype}", _update(w, g, m, v, settings), settings)


def _settings(optimizer: AdamW, decays: bool, scale: float) -> dict[str, float]:
    t, (b1, b2), corrected = optimizer.steps + 1, optimizer.betas, optimizer.bias_correction
    return {"t": t, "lr": optimizer.lr, "scale": scale, "b1": b1, "b2": b2, "eps": optimizer.eps,
            "weight_decay": optimizer.weight_decay * decays,
            "m_scale": 1.0 / (1.0 - b1**t) if corrected else 1.0, "v_scale": 1.0 / (1.0 - b2**t) if corrected else 1.0}


def _update(w: Array, g: Array, m_before: Array, v_before: Array, s: dict[str, float]) -> dict[str, Array]:
    """The quantities of FORMULAS, in AdamW's own order of operations: another one would round differently."""
    g_clipped = g * s["scale"]
    m = m_before * s["b1"] + g_clipped * (1.0 - s["b1"])
    v = v_before * s["b2"] + g_clipped * g_clipped * (1.0 - s["b2"])
    root = np.sqrt(v * s["v_scale"])
    ratio = m / (root + s["eps"])
    update = ratio * (s["lr"] * s["m_scale"])
    w_decayed = w * (1.0 - s["lr"] * s["weight_decay"])
    w_new = w_decayed - update
    values = {"g": g, "g_clipped": g_clipped, "m_before": m_before, "m": m, "v_before": v_before, "v": v,
              "m_hat": m * s["m_scale"], "root": root, "ratio": ratio, "w": w, "decay": w_decayed - w,
              "w_decayed": w_decayed, "update": update, "w_new": w_new, "change": w_new - w}
    return {name: np.asarray(values[name]) for name in FORMULAS}


def _taken_from(weights: Tensor) -> tuple[Tensor, Any]:
    """The leaf that was indexed, and the index."""
    node = weights.node if isinstance(weights, Tensor) else None
    if node is None or node.op.name != "getitem" or not isinstance(node.args[0], Tensor):
        raise InputError("microscope looks at an indexed parameter, such as model.bert.pooler.dense.weight[3, 5] or "
                         "weight[3], written outside no_grad()")
    return node.args[0], node.args[1]


def _spelled(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    return f"[{', '.join(_spelled_part(part) for part in parts)}]"


def _spelled_part(part: Any) -> str:
    if isinstance(part, slice):
        ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
        return ":".join(ends) + (f":{part.step}" if part.step else "")
    return "..." if part is Ellipsis else str(part)


def length(x: Array) -> float:
    """The Euclidean norm, in float64."""
    return float(np.linalg.norm(np.asarray(x, np.float64)))
