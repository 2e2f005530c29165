"""Arrays and numbers in few words, for the reprs of tensors and for every debugging tool."""

import numpy as np

from minibert.backend import Array, to_host


def number(x: float) -> str:
    """Four significant digits, in the shortest spelling."""
    return f"{x:.4g}"


def shape_text(shape: tuple[int, ...]) -> str:
    """(2, 3, 5) as 2x3x5; the empty shape as ()."""
    return "x".join(map(str, shape)) if shape else "()"


def summary(array: Array) -> str:
    """Range, Euclidean norm and, where there are any, the numbers of NaNs and infinities: "-1.2 .. 3.4, norm 5.6"."""
    x = np.asarray(to_host(array))
    if x.size == 0:
        return "empty"
    if x.dtype.kind != "f":
        return f"{x.min()} .. {x.max()}"
    finite = x[np.isfinite(x)].astype(np.float64)
    parts = [f"{number(finite.min())} .. {number(finite.max())}, norm {number(float(np.linalg.norm(finite)))}"
             ] if finite.size else []
    nans, infinities = int(np.isnan(x).sum()), int(np.isinf(x).sum())
    parts += [f"{count:,} {what}" for count, what in ((nans, "NaN"), (infinities, "infinite")) if count]
    return ", ".join(parts)
