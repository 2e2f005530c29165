"""Every operation on the GPU against its formula in float64."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from ops.cases import CASES, Case

from minibert.backend import to_device, to_host
from minibert.ops import registry
from minibert.ops.dropout import DropoutKey

from ..device_cases import LARGE, REFUSED, chosen, float32, results, there
from .accuracy import HEAD, LEGEND, Error, errors, float64, report
from .of_size import of_size
from .options import Options, Sizes
from .page import Page


def load_twins() -> None:
    """Fill registry.TWINS."""
    import minibert.ops.cuda.twins  # noqa: F401


class Named(NamedTuple):
    """A case, and what it is called."""

    name: str
    case: Case


def cases_of(name: str, real: dict[str, Case], most: int | None = None) -> Iterator[Named]:
    """The small ones, the large ones, and the one of real size."""
    small, large = len(CASES[name]), len(LARGE.get(name, []))
    for number in range(min(small, most or small)):
        yield Named(f"case {number}", chosen(name, number))
    for number in range(large):
        yield Named(f"large {number}", chosen(name, small + number))
    if name in real:
        args, hyper = real[name]
        yield Named("real size", Case(tuple(map(float32, args)), hyper))


def compared(name: str, case: Case) -> list[Error]:
    """The GPU's operation, the formula in float32, and the formula in float64."""
    args, hyper = case
    formula, on_gpu = registry.REGISTRY[name], tuple(map(there, args))
    mine = results(registry.operation(name, on_gpu), on_gpu, hyper)
    numpys, exact = (results(formula, given, hyper) for given in (args, tuple(map(float64, args))))
    assert all(x is None or (x.dtype == np.float32 and hasattr(x, "get")) for x in mine), "not float32 on the GPU"
    return list(errors(formula, mine, numpys, exact))


def compare(page: Page, name: str, cases: Iterator[Named]) -> list[Any]:
    """All cases of one operation; a row of the table."""
    found: list[tuple[Error, str]] = []
    tried = list(cases)
    for where, case in tried:
        with page.checking(f"{name}, {where}"):
            found += [(e, where) for e in compared(name, case)]
    return report(page, name, len(tried), found)


def twins(page: Page, options: Options) -> None:
    """Our kernels: all cases of the tests, and one of each operation at BERT-base's size."""
    load_twins()
    real, rows = of_size(options.sizes), []
    for name in registry.TWINS:
        cases = (c for c in cases_of(name, real) if name not in REFUSED or not REFUSED[name](*c.case.args))
        rows.append(compare(page, name, cases))
    _conclude(page, rows)


def formulas(page: Page, options: Options) -> None:
    """The same formulas as on the CPU, computed with CuPy: of every operation."""
    load_twins()
    real, rows = of_size(Sizes(4, 64, 96, 3, 999)) if not options.small else {}, []
    with registry.plain_formulas():
        for name in registry.TWINS if options.small else registry.REGISTRY:
            rows.append(compare(page, name, cases_of(name, real, most=2 if options.small else None)))
    _conclude(page, rows)


def _conclude(page: Page, rows: list[Any]) -> None:
    page.table(HEAD, rows)
    page.note(LEGEND)
    output, gradient = (max(rows, key=lambda row: row[place]) for place in (2, 5))
    page.sentence = (f"{sum(row[1] for row in rows)} cases of {len(rows)} operations; worst output {output[2]:.0f} u "
                     f"({output[0]}), worst gradient {gradient[5]:.0f} u ({gradient[0]})")


def dropout(page: Page, options: Options) -> None:
    """Which numbers are dropped is the same, bit for bit, wherever an array begins in the random stream."""
    load_twins()
    sizes = (1, 15, 33, 700) if options.small else (1, 15, 33, 700, 65_537, 3_000_001)
    places = (0, 5, 16, 31, *([] if options.small else [2**40 + 3]))
    seeds = (0, 2**40 + 1, 2**64 - 1)
    for seed in seeds:
        for start in places:
            for size in sizes:
                key, x = DropoutKey(seed=seed, step=7, site=3, start=start), np.ones(size, np.float32)
                here, _ = registry.REGISTRY["dropout"].forward(x, 0.4, key)
                mine, _ = registry.TWINS["dropout"].forward(to_device(x, "cuda"), 0.4, key)
                wrong = int(((to_host(mine) == 0) != (here == 0)).sum())
                page.check(wrong == 0, f"{wrong} of {size} numbers differ for seed {seed}, start {start}")
    page.sentence = f"{len(seeds) * len(places) * len(sizes)} masks beside NumPy's, of up to {max(sizes):,} numbers"
