"""Is an answer right?  Exact, close, or where it goes wrong first, and which part of it is missing."""

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Function, Sample, Value, as_tuple
from minibert.lab.diagnosing import known_mistake, known_slip
from minibert.summary import number, shape_text

EXACT, CLOSE = "exact", "close: equal but for rounding"


class Wrong(Exception):
    """An answer is not right; the message says how."""


def grade_value(exercise: Value, mine: Any) -> list[str]:
    """What to say about a right answer.  Raises Wrong."""
    if isinstance(exercise.right, str):
        if not isinstance(mine, str):
            raise Wrong(f"a word is asked for, as text in quotes, not {mine!r}")
        if mine.strip().lower() == exercise.right.lower():
            return ["that is it"]
        raise Wrong(exercise.mistakes.get(mine.strip().lower(), f"{mine!r} is not it"))
    try:
        return [difference(mine, exercise.right, exercise.tolerance)]
    except Wrong as wrong:
        said = [words for words, value in exercise.mistakes.items() if _equal(mine, value, exercise.tolerance)]
        raise Wrong("\n".join([str(wrong), *said])) from None


def grade_function(exercise: Function, mine: Callable[..., Any]) -> list[str]:
    """What to say about each output of a right answer.  Raises Wrong."""
    samples = exercise.samples()
    results = [_call(exercise, mine, sample) for sample in samples]
    found = []
    for i, name in enumerate(exercise.outputs):
        verdicts = []
        for n, (sample, result) in enumerate(zip(samples, results, strict=True)):
            try:
                verdicts.append(difference(result[i], sample.right[i], exercise.tolerance))
            except Wrong as wrong:
                given = ", ".join(shape_text(x.shape) for x in sample.args if isinstance(x, np.ndarray))
                where = f"{name}, input {n + 1} of {len(samples)} (shapes {given}): {wrong}"
                why = known_mistake(exercise, samples, results) or known_slip(exercise, i, samples, results)
                raise Wrong("\n".join([where, *why])) from None
        found.append(f"{name}: {CLOSE if CLOSE in verdicts else EXACT}, on {len(samples)} random inputs")
    return found


def difference(mine: Any, right: Any, tolerance: float) -> str:
    """EXACT or CLOSE.  Raises Wrong, saying what is different, and where first."""
    if isinstance(mine, str) or mine is None or mine is ...:
        raise Wrong(f"numbers are asked for, not {mine!r}" + " (is a `return` missing?)" * (mine is None))
    try:
        x, y = np.asarray(mine, np.float64), np.asarray(right, np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"numbers are asked for, not {type(mine).__name__}") from None
    if x.shape != y.shape:
        turned = " (it is transposed)" if x.ndim == y.ndim > 1 and x.swapaxes(-1, -2).shape == y.shape else ""
        raise Wrong(f"it has shape {shape_text(x.shape)}, and {shape_text(y.shape)} is right{turned}")
    if np.array_equal(x, y):
        return EXACT
    off = ~(np.abs(x - y) <= tolerance * max(float(np.abs(y).max()), 1e-300))  # NaN is off, too
    if not off.any():
        return CLOSE
    if x.ndim == 0:
        raise Wrong(f"{number(float(x))} is not right" + _direction(float(x), float(y)))
    first = tuple(int(i) for i in np.argwhere(off)[0])
    found, wanted = float(x[first]), float(y[first])
    write = number if number(found) != number(wanted) else repr
    raise Wrong(f"{int(off.sum())} of {x.size} numbers are wrong, the first at [{', '.join(map(str, first))}]: "
                f"{write(found)}, where {write(wanted)} is right")


def _direction(x: float, y: float) -> str:
    """Where to look for a number, without giving it away."""
    if not np.isfinite(x):
        return ""
    if x == -y:
        return ": its sign is turned"
    return ": too large" if x > y else ": too small"


def _equal(mine: Any, value: Any, tolerance: float) -> bool:
    try:
        return bool(difference(mine, value, tolerance))
    except Wrong:
        return False


def _call(exercise: Function, mine: Callable[..., Any], sample: Sample) -> tuple[Any, ...]:
    """The learner's results.  Raises Wrong when the function fails or returns something else than the outputs."""
    try:
        given = mine(*map(_copy, sample.args))
    except Exception as error:
        raise Wrong(failure(error)) from error
    single = len(exercise.outputs) == 1 and not isinstance(given, tuple)
    result = (given,) if single else as_tuple(given)  # a list may be an array
    if len(result) != len(exercise.outputs):
        raise Wrong(f"it returned {len(result)} result{'s' * (len(result) != 1)}, and {len(exercise.outputs)} "
                    f"{'is' if len(exercise.outputs) == 1 else 'are'} asked for: {', '.join(exercise.outputs)}")
    return result


def failure(error: Exception) -> str:
    """An exception in the learner's function, with its line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = f"it raised {type(error).__name__}: {error}"
    if "read-only" in str(error):
        words = "it changes an array that it was given, which others still need: compute into a new one"
    return f"{words}\nin the line `{place.line}`" if place.line else words


def _copy(x: Any) -> Any:
    """An array as the engine hands it over: read-only."""
    if not isinstance(x, np.ndarray):
        return x
    copy: Array = x.copy()
    copy.flags.writeable = False
    return copy
