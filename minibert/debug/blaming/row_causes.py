"""Causes that are seen in a whole row: of scores, of logits, of a matrix, or of what is normalised."""

import math
from typing import Any

import numpy as np

from minibert.debug.blaming.evidence import Cause, Evidence, arithmetic, at, limit, peak, place
from minibert.ops.dropout import dropped, keep_part, survivor_scale
from minibert.ops.loss import IGNORE_INDEX
from minibert.summary import number

MASKED_ROW = "let every row see something, or use minibert's softmax or attention, which make such a row 0"


def masked_row(e: Evidence) -> str:
    """max(x) of a row that is -inf everywhere."""
    x = e["x"]
    if np.ndim(x) and np.isneginf(x).any() and np.isneginf(e.row("x")).all():
        return (f"row {place(e.index[:-1])} is fully masked: all of it is -inf, and so is its maximum, and "
                f"-inf - (-inf) = nan; {MASKED_ROW}")
    return ""


def empty_total(e: Evidence) -> str:
    """A row of e^-inf = 0 divided by its sum."""
    if np.ndim(e["x"]) and e.at("y") == 0.0 and not e.row("x").any():
        return (f"0 / 0 = nan: all numbers of row {place(e.index[:-1])} are 0, and so is their sum, as after a mask "
                f"that hides the whole row; {MASKED_ROW}")
    return ""


def infinite_in_row(e: Evidence) -> str:
    """x - max(x) that is not finite."""
    row = e.row("x")
    return arithmetic("-", row, row.max(), ("x", "max(x)"))


def products(*names: str) -> Cause:
    """A sum of products: of matrices, or of a gradient and a matrix."""
    def cause(e: Evidence) -> str:
        for name in names:
            if not np.isfinite(e[name]).all():
                return f"{name} holds infinities, of which a product makes NaN: infinity times 0 has no value"
        reach = " and ".join(f"{name} reaches {number(peak(e[name]))}" for name in names)
        return f"{reach}: sums of their products{at(e.index)} are above {limit(e.result.dtype)}"
    return cause


def affine(e: Evidence) -> str:
    """x W^T + b: the one row of each that the bad number was made of."""
    row, column = (np.asarray(v, np.float64) for v in (e.row("x"), e["weight"][e.index[-1]]))
    if not np.isfinite(row).all():
        return products("x")(e)
    y = row @ column + (0.0 if e["bias"] is None else float(e["bias"][e.index[-1]]))
    way = "beyond" if abs(y) > np.finfo(e.result.dtype).max else "and on the way there pass"
    return (f"row {place(e.index[:-1])} of x reaches {number(peak(row))}, and row {place(e.index[-1:])} of weight "
            f"{number(peak(column))}: their products add up to {number(float(y))}, {way} {limit(e.result.dtype)}")


def attention_scores(e: Evidence) -> str:
    """q k^T / sqrt(D), where the query may look."""
    b, a, t, _ = e.index
    q, k = (np.asarray(x, np.float64) for x in (e["q"][b, a, t], e["k"][b, a]))
    scores = k @ (q / math.sqrt(q.size))
    if e["mask"] is not None:
        shape = (*np.shape(e["q"])[:3], len(k))
        scores = scores[np.broadcast_to(e["mask"], shape)[b, a, t]]
    largest = float(np.abs(scores).max(initial=0.0))
    if largest > float(np.finfo(e.result.dtype).max) or math.isnan(largest):
        norms = f"q has norm {number(float(np.linalg.norm(q)))}, k has norms up to " \
                f"{number(float(np.linalg.norm(k, axis=-1).max()))}"
        return (f"the scores of query {place((b, a, t))} reach {number(largest)}, above {limit(e.result.dtype)}: "
                f"{norms}; softmax then meets infinity minus infinity")
    return ""


def context_overflow(e: Evidence) -> str:
    """probs v, which are means of v: only numbers near the largest can overflow."""
    near = peak(e["v"]) * e["v"].shape[-2] > float(np.finfo(e.result.dtype).max)
    return products("v")(e) if near or not np.isfinite(e["v"]).all() else ""


def residual_row(e: Evidence) -> str:
    """add_norm: the sums, and then what layer_norm makes of them."""
    h, x, p, key, bias = e["h"], e["x"], e["p"], e["key"], e["bias"]
    name, overflow = "h", ""
    if bias is not None:
        name, overflow = "(h + bias)", arithmetic("+", h, bias, ("h", "bias"))
        h = h + bias
    keep, scale = (keep_part(h.shape, p, key), survivor_scale(p)) if p > 0.0 and key is not None else (None, 1.0)
    h = dropped(h, keep, scale)
    return overflow or arithmetic("+", x, h, ("x", name)) or _norm_row(e, (x + h)[e.index[:-1]], f"x + {name}")


def norm_row(e: Evidence) -> str:
    """layer_norm."""
    return _norm_row(e, e.row("x"), "x")


def _norm_row(e: Evidence, row: Any, name: str) -> str:
    where = f"row {place(e.index[:-1])} of {name}"
    if not np.isfinite(row.sum()):
        return f"{where} reaches {number(peak(row))}: its sum, for the mean, is above {limit(row.dtype)}"
    centred = row - row.mean()
    variance = (centred * centred).mean()
    if variance + row.dtype.type(e["eps"]) == 0.0:
        eps = "" if e["eps"] == 0.0 else f", which is 0 in {row.dtype},"
        what = "is constant" if not centred.any() else f"has deviations whose squares are 0 in {row.dtype}"
        return f"{where} {what}, so its variance is 0, and eps = {number(e['eps'])}{eps} does not help: 1 / sqrt(0)"
    return arithmetic("*", (centred / np.sqrt(variance + e["eps"]))[None], e["gamma"], ("xhat", "gamma"))


def infinite_logit(e: Evidence) -> str:
    """cross_entropy, row by row."""
    logits = e["logits"].reshape(-1, e["logits"].shape[-1])
    for row, label in enumerate(e["labels"].reshape(-1)):
        z = logits[row]
        where = f"row {row} of the logits" if len(logits) > 1 else "the only row of the logits"
        if label == IGNORE_INDEX:
            continue
        if np.isneginf(z).all():
            return f"{where} is fully masked: all of it is -inf, and -inf - (-inf) = nan"
        if np.isneginf(z[label]):
            return f"{where} is -inf at its label {label}, as by a mask: probability 0, and -ln 0 = inf"
        if not np.isfinite(z[label] - z.max()):
            return (f"{where}: from {number(float(z.max()))} down to {number(float(z[label]))} at its label {label} "
                    f"is farther than {limit(z.dtype)}")
    return ""


def norm_slope(e: Evidence) -> str:
    """rstd (dxhat - ...)."""
    return arithmetic("*", e["dy"], e["gamma"], ("dy", "gamma")) or (
        f"the rows were divided by their deviation, the gradient too: 1 / deviation reaches "
        f"{number(peak(e['rstd']))}, dy {number(peak(e['dy']))}, gamma {number(peak(e['gamma']))}, and a product or "
        f"a sum of these is above {limit(e.result.dtype)}")
