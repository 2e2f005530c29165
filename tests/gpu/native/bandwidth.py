"""How fast each kernel of ours moves its numbers, at BERT-base's size, beside a plain copy."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from minibert.backend import cupy, is_array
from minibert.nn.positions import Positions
from minibert.ops import registry
from minibert.ops.cuda import launcher
from minibert.ops.cuda.optimizer import adamw, norm_and_clip
from minibert.ops.dropout import DropoutKey

from ..device_cases import float32, results, there
from .compiled import kernel_names
from .of_size import of_size
from .operations import load_twins
from .options import Options
from .page import Page
from .timing import FLUSH, microseconds

TIMES = 20
COPIES = (6 << 20, 25 << 20, 100 << 20, 1 << 30)  # bytes
PARAMETERS = 110_000_000  # of BERT-base
TWICE = {"adamw": (0, 2, 3)}  # arguments that are read and written: w, m, v


class Launch:
    """A kernel's launch: what it was given."""

    def __init__(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        self.name, self.grid, self.block, self.args = name, grid, block, args

    @property
    def moved(self) -> int:
        """Bytes: each array once, read or written; of a table, the rows that are added to."""
        if self.name == "embedding_backward":  # dy, ids and flags are read; as many rows as dy has, at most, changed
            dy, ids, first = self.args[:3]
            return 3 * dy.nbytes + ids.nbytes + first.nbytes
        twice = TWICE.get(self.name, ())
        return sum(x.nbytes * (1 + (i in twice)) for i, x in enumerate(self.args) if is_array(x) and x.ndim)

    @property
    def shape(self) -> str:
        """Of the largest array."""
        return " x ".join(map(str, max((x.shape for x in self.args if is_array(x)), key=np.prod)))


def bandwidth(page: Page, options: Options) -> None:
    """Every launch of the twins and of the update, again and again."""
    xp = cupy()
    flush = None if options.small else xp.empty(FLUSH, np.uint8)
    times, rows = (2 if options.small else TIMES), []
    copies = [_copied(n, times, flush) for n in ((1 << 10,) if options.small else COPIES)]
    best = max(rate for *_, rate in copies)
    for number, launch in enumerate(_launches(options)):
        with page.checking(f"launch {number}, {launch.name}"):
            kernel = launcher.kernel(launch.name)
            us = microseconds(lambda k=kernel, at=launch: k(at.grid, at.block, at.args), times, flush)
            rate = 1e-3 * launch.moved / us
            rows.append([launch.name, launch.shape, launch.moved / 1e6, us, rate, rate / best])
            page.held += 1
    page.table(("kernel", "largest array", "MB", "microseconds", "GB/s", "of a copy's"), _slowest_of_each(rows))
    page.table(("copy", "MB", "microseconds", "GB/s"), copies)
    page.note("The median of 20 launches, with nothing in the cache, between two events, which themselves take a "
              "microsecond or two. MB: every array counted once (twice where it is read and written), as if a row that "
              "a kernel reads twice came from the cache the second time. Of several launches of a kernel the one that "
              "moves most is shown.")
    missing = set(kernel_names()) - {row[0] for row in rows}
    page.check(not missing, f"never launched: {sorted(missing)}")
    large = [row for row in rows if row[2] > 10] or rows
    slowest = min(large, key=lambda row: row[5])
    page.sentence = f"copy {best:,.0f} GB/s; slowest: {slowest[0]} with {slowest[4]:,.0f} GB/s"


def _slowest_of_each(rows: list[list[Any]]) -> list[list[Any]]:
    """One row for each kernel, in the order of time."""
    largest: dict[str, list[Any]] = {}
    for row in rows:
        if row[0] not in largest or row[2] > largest[row[0]][2]:
            largest[row[0]] = row
    return sorted(largest.values(), key=lambda row: -row[3])


def _copied(size: int, times: int, flush: Any) -> list[Any]:
    """A copy of `size` bytes in all, half of them read."""
    x, y = (cupy().empty(size // 2, np.uint8) for _ in range(2))
    us = microseconds(lambda: y.data.copy_from_device_async(x.data, x.nbytes), times, flush)
    return ["device to device", size / 1e6, us, 1e-3 * size / us]


def _launches(options: Options) -> Iterator[Launch]:
    """What the twins launch, forward and backward, and the end of a step; one operation after the other."""
    load_twins()
    sizes = options.sizes
    B, T, H = sizes[:3]
    some = np.sort(np.random.default_rng(2).integers(0, T, (B, max(1, T // 7))))
    part = float32(np.random.default_rng(3).standard_normal((*some.shape, H)))
    key = DropoutKey(3, 2, 4, 0, Positions(some, T).of_states(H))
    for name, (args, hyper) in of_size(sizes).items():
        yield from _recorded(lambda name=name, args=args, hyper=hyper: results(
            registry.TWINS[name], tuple(there(float32(x)) for x in args), hyper))
    yield from _recorded(lambda: registry.TWINS["dropout"].forward(there(part), 0.1, key))
    yield from _recorded(lambda: _update(1000 if options.small else PARAMETERS))


def _update(numbers: int) -> None:
    """Clipping and AdamW."""
    xp = cupy()
    w, g, m, v = (xp.zeros(numbers, np.float32) for _ in range(4))
    limit, losses, norm, rates = (xp.ones(n, np.float32) for n in (1, 2, 1, 4))
    norm_and_clip(g, 1.0, limit, losses, norm, rates[3:], xp.zeros(1, np.int32))
    adamw(w, g, m, v, rates, numbers // 2, (0.9, 0.98), 1e-6, 0.01)


def _recorded(work: Any) -> list[Launch]:
    """The launches of some work, which is done."""
    found, real = [], launcher.kernel

    def kernel(name: str) -> Any:
        def launch(grid: Any, block: Any, args: Any) -> None:
            found.append(Launch(name, grid, block, args))
            real(name)(grid, block, args)
        return launch

    with mock.patch.object(launcher, "kernel", kernel):
        work()
    return found
