"""How far float32 numbers are from the exact ones, in units of float32's rounding."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import is_array, to_host
from minibert.ops import registry

from .page import Page

U = 2.0**-24  # the largest relative error of rounding to float32
LIMIT = 2e-5 / U  # what the tests without a GPU allow
TIMES = 4  # as much as NumPy's error is allowed, too: where numbers cancel, float32 has no better ones
LEAST = 1e-3  # errors are measured against the largest number of an array, or against this where all are smaller


class Error(NamedTuple):
    """Of one array: what it is, its error on the GPU and that of NumPy in float32, both in units of U."""

    what: str
    device: float
    numpy: float


def error(mine: Any, exact: Any, least: float = LEAST) -> float:
    """max |mine - exact| / max |exact|, in units of U; infinite where a number is none that should be one."""
    mine, exact = np.asarray(mine, np.float64), np.asarray(exact, np.float64)
    if mine.shape != exact.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        distance = np.where(mine == exact, 0.0, np.abs(mine - exact))
        largest = np.abs(exact[np.isfinite(exact)]).max(initial=least)
    return float(np.nan_to_num(distance, nan=np.inf, posinf=np.inf).max(initial=0.0) / largest / U)


def float64(x: Any) -> Any:
    return x.astype(np.float64) if is_array(x) and x.dtype == np.float32 else x


def names_of(op: registry.Op, count: int) -> list[str]:
    """Of an operation's output, and of the gradients of its inputs."""
    inputs = op.inputs if not op.variadic else [f"{op.inputs[0]}{i}" for i in range(count - 1)]
    return [op.output, *(f"d{name}" for name in inputs)]


def errors(op: registry.Op, mine: Sequence[Any], numpys: Sequence[Any], exact: Sequence[Any]) -> Iterator[Error]:
    """For the output and every gradient that there is."""
    for name, *arrays in zip(names_of(op, len(exact)), mine, numpys, exact, strict=True):
        if arrays[2] is None:
            assert arrays[0] is None, f"{name} has a gradient on the GPU only"
        else:
            yield Error(name, error(to_host(arrays[0]), arrays[2]), error(arrays[1], arrays[2]))


def report(page: Page, name: str, cases: int, found: Sequence[tuple[Error, str]]) -> list[Any]:
    """Check the errors of an operation, each with the case it is from; a row for the table of them."""
    for e, where in found:
        page.check(e.device <= max(LIMIT, TIMES * e.numpy),
                   f"{name}, {where}: {e.what} is off by {e.device:,.0f} u, NumPy by {e.numpy:,.0f}")
    row: list[Any] = [name, cases]
    for kind in ([(e, w) for e, w in found if not e.what.startswith("d")],
                 [(e, w) for e, w in found if e.what.startswith("d")]):
        worst, where = max(kind, default=(Error("none", 0.0, 0.0), ""), key=lambda pair: pair[0].device)
        row += [worst.device, max((e.numpy for e, _ in kind), default=0.0), f"{worst.what}, {where}"]
    return row


HEAD = ("operation", "cases", "output: GPU", "NumPy", "worst", "gradient: GPU", "NumPy", "worst")
LEGEND = (f"Errors are max |found - exact| / max |exact| in units of u = 2^-24, float32's rounding; exact is NumPy in "
          f"float64 on the same float32 inputs. NumPy is float32 there, the worst of all cases. At most {LIMIT:.0f} u "
          f"is allowed (2e-5 of an array's largest number), or {TIMES} times NumPy's error.")
