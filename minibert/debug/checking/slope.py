"""The slope of a function at 0, from its values alone, and how far off that may be.

    (1)  D(h) = (g(h) - g(-h)) / 2h  =  g'(0) + a h^2 + b h^4 + ...
    (2)  E(h) = (4 D(h) - D(2h)) / 3         the term in h^2 is gone
    (3)  F(h) = (16 E(h) - E(2h)) / 15       and that in h^4

Two errors pull the step h in opposite directions.  Truncation, what (3) leaves out, falls with h: it is estimated by
how far F(h) is from F(2h).  Round-off, noise / h, grows as h falls: the noise is measured, very near to 0.  The step
taken is the one at which their sum is smallest.

A kink at 0 is neither, and central differences do not see it: they settle at the mean of the slopes on both sides.

    (4)  B(h) = (g(h) - 2 g(0) + g(-h)) / h  =  (right slope - left slope) + a h + b h^3 + ...

tells, extrapolated as the slope is, whether there are two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from minibert.backend import Array

FIRST_STEP = 0.1  # of the unit
HALVINGS = 40
ENOUGH = 1e-11  # of the slope: no smaller error is looked for
SAFETY = 4.0  # the largest of many errors, in units of the standard deviation of one
PLACES = np.array([np.sign(k) * abs(k) ** 1.5 for k in range(-4, 5)])
CUBICS = np.linalg.qr(np.vander(PLACES, 4))[0]  # an orthonormal basis of them, at these places
AMPLIFIED = 64 / 45 + 20 / 90 + 1 / 180  # by (2) and (3): how much noise / h is in F(h)


@dataclass(frozen=True)
class Slope:
    """A measured slope.  value: F(step).

    truncation, round_off: what either may contribute to its error.  kink: how far the slopes on both sides, of which
    it is the mean, may be from it; 0 where there is but one.
    """

    value: float = np.nan
    step: float = np.nan
    truncation: float = np.inf
    round_off: float = np.inf
    kink: float = 0.0

    @property
    def error(self) -> float:
        """How far off the value may be, all in all."""
        return self.truncation + self.round_off + self.kink

    def contradiction(self, longer: "Slope") -> float:
        """How far this is from a slope over a longer step that had settled; 0 where their errors explain it.

        A function that moves in stairs, because a part of it computes in float32, has a slope only over long steps.
        """
        apart = abs(self.value - longer.value)
        settled = longer.error < 0.1 * abs(longer.value)
        return apart if settled and apart > 10.0 * (self.error + longer.error) else 0.0


def slope(terms: Callable[[float], Array], unit: float = 1.0) -> Slope:
    """d/dt sum(terms(t)) at t = 0.

    terms: the function, whose value is the sum of the array it returns: a kink is looked for in each number by itself,
    so that none hides behind another.  unit: a change of t that is large.
    """
    best, tried, central, bends, kink = Slope(), [], [], [], 0.0
    with np.errstate(all="ignore"):  # a step may leave the domain of a logarithm; a shorter one follows
        at_0 = terms(0.0)
        noise = measured_noise(terms, at_0, unit)
        h = FIRST_STEP * unit
        for _ in range(HALVINGS):
            up, down = terms(h), terms(-h)
            central.append(float((up - down).sum()) / (2.0 * h))                        # (1)
            bends.append((up - 2.0 * at_0 + down) / h)                                  # (4)
            if len(central) >= 4:
                lost = max(noise, rounding(up)) / h
                value, truncation = _extrapolated(central[-4:])
                kink = _kink(bends[-3:], 5.0 * lost * float(np.sqrt(at_0.size)), kink)
                now = Slope(value, h, truncation, AMPLIFIED * lost, kink)
                tried.append(now)
                best = now if now.error < best.error else best
                if best.error <= ENOUGH * abs(best.value) or now.round_off > best.error:
                    break
                del bends[0]
            h /= 2.0
    return replace(best, truncation=best.truncation + max((best.contradiction(s) for s in tried), default=0.0))


def measured_noise(terms: Callable[[float], Array], at_0: Array, unit: float) -> float:
    """What rounding may do to the sum of `terms`, whatever cancels inside: what is left of it after a cubic is fitted.

    The places are so near that nothing smooth differs from a cubic, and spaced so that numbers that are rounded to
    a grid do not fall on it.
    """
    distance = unit * float(np.finfo(at_0.dtype).eps) ** 0.75
    values = np.array([float(terms(place * distance).sum()) for place in PLACES])
    left = values - CUBICS @ (CUBICS.T @ values)
    measured = np.linalg.norm(left) / np.sqrt(len(PLACES) - 4)
    return max(SAFETY * float(np.nan_to_num(measured)), rounding(at_0))


def rounding(values: Array) -> float:
    """What rounding does at least to the sum of these numbers: their last digits, in either direction."""
    return SAFETY * float(np.finfo(values.dtype).eps) * float(np.linalg.norm(values))


def _extrapolated(central: Sequence[float]) -> tuple[float, float]:
    """F(h) from D(8h), D(4h), D(2h), D(h), and its truncation error."""
    E = [(4.0 * fine - coarse) / 3.0 for coarse, fine in pairwise(central)]             # (2)
    F = [(16.0 * fine - coarse) / 15.0 for coarse, fine in pairwise(E)]                 # (3)
    truncation = abs(F[1] - F[0])
    if not abs(E[2] - E[1]) < abs(E[1] - E[0]):  # they do not come closer: two may agree by chance
        truncation = max(truncation, abs(E[2] - E[1]))
    return F[1], truncation if np.isfinite(truncation) else np.inf


def _kink(bends: Sequence[Array], noise: float, before: float) -> float:
    """Half the jump of the slope, from B(4h), B(2h), B(h), summed over all numbers; 0 unless it stays as h falls.

    before: that of the step before, which stands where noise hides whether it is still there.
    """
    first = [2.0 * fine - coarse for coarse, fine in pairwise(bends)]                   # without a h
    second = (8.0 * first[1] - first[0]) / 7.0                                          # and b h^3
    jump, change = float(np.abs(second).sum()), float(np.abs(second - first[1]).sum())
    if jump > noise and change < 0.1 * jump:
        return jump / 2.0
    return before if before < noise else 0.0


def root_mean_square(x: Array) -> float:
    """How large the numbers of x are; 1 where they are all 0."""
    finite = x[np.isfinite(x)]
    return float(np.sqrt(np.mean(finite * finite))) if finite.any() else 1.0
