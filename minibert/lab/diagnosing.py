"""Which slip is it?  A wrong answer is written as the terms of the right one, by least squares.

If the terms give it exactly, their coefficients tell everything: 0 for a term that is missing, -1 for a sign that is
turned, 2 for a term that was counted twice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Function, Sample, as_tuple
from minibert.summary import number

FITS = 1e-7  # relative: what is off by less is the same
Results = Sequence[tuple[Any, ...]]  # the outputs of each case


def known_mistake(exercise: Function, samples: list[Sample], results: Results) -> list[str]:
    """What to say of a whole wrong answer that was foreseen; nothing for another."""
    for words, wrong in exercise.mistakes.items():
        pairs = [(mine, his) for sample, result in zip(samples, results, strict=True)
                 for mine, his in zip(result, as_tuple(wrong(*sample.args)), strict=True)]
        if all(_same(mine, his) for mine, his in pairs):
            return [words]
    return []


def known_slip(exercise: Function, output: int, samples: list[Sample], results: Results) -> list[str]:
    """What is wrong with one output, in words, as far as its terms and factors tell."""
    name = exercise.outputs[output]
    mine = [result[output] for result in results]
    right = [sample.right[output] for sample in samples]
    if any(np.shape(x) != np.shape(y) for x, y in zip(mine, right, strict=True)):
        return []
    terms = {words: [term(*sample.args) for sample in samples]
             for words, term in exercise.terms.get(name, {}).items()}
    if (scale := coefficients(mine, [right])) is not None:
        return [said("the whole", float(scale[0]))]
    for words, factor in exercise.factors.get(name, {}).items():
        factors = [np.asarray(factor(*sample.args)) for sample in samples]
        if all(_same(x * f, y) for x, f, y in zip(mine, factors, right, strict=True)):
            return [f"the factor {words} is missing"]
        if all(_same(x, y * f) for x, f, y in zip(mine, factors, right, strict=True)):
            return [f"the factor {words} is in it twice"]
    found = coefficients(mine, list(terms.values())) if terms else None
    if found is None:
        return ["none of the usual slips: compare it with the formula, term by term"]
    return [said(f"the term {words}", float(c)) for words, c in zip(terms, found, strict=True) if abs(c - 1.0) > FITS]


def said(what: str, coefficient: float) -> str:
    """What a coefficient that is not 1 means."""
    if abs(coefficient) < FITS:
        return f"{what} is missing"
    if abs(coefficient + 1.0) < FITS:
        return f"{what} has its sign turned"
    return f"{what} is {number(coefficient)} times as large as it should be"


def coefficients(mine: list[Any], terms: list[list[Any]]) -> Array | None:
    """The numbers c with mine = sum(c term) in every case; None where there are none."""
    columns = np.stack([_flat(term) for term in terms], axis=1)
    target = _flat(mine)
    if not np.isfinite(target).all():
        return None
    c, *_ = np.linalg.lstsq(columns, target, rcond=None)
    return c if np.abs(columns @ c - target).max() <= FITS * max(float(np.abs(columns).max()), 1e-300) else None


def _flat(arrays: list[Any]) -> Array:
    return np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in arrays])


def _same(x: Any, y: Any) -> bool:
    """Equal but for rounding; infinity and NaN only where the other has them, too."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape:
        return False
    finite = np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return False
    x, y = x[finite], y[finite]
    return bool(np.abs(x - y).max(initial=0.0) <= FITS * max(np.abs(y).max(initial=0.0), 1e-300))
