"""Two timelines of a step side by side: where they part, and how the difference grows from there."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from statistics import median
from textwrap import fill
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.html import FONT, html_table
from minibert.debug.replaying.replay import Replay
from minibert.debug.replaying.timeline import Record, Timeline, end_of, norm, short_place
from minibert.debug.show import table
from minibert.errors import InputError
from minibert.summary import number, shape_text

WORST = 37  # characters of a name in the table
KEY_BIAS = "attention.self.key.bias"


@dataclass(frozen=True)
class Difference:
    """What became of one record.

    relative: the norm of the difference over that of the first (of the update itself, where it is an update).
    array, index, before, after: the number that differs most.  problem: why nothing can be subtracted.
    """

    record: Record
    relative: float = 0.0
    array: str = ""
    index: tuple[int, ...] = ()
    before: float = 0.0
    after: float = 0.0
    problem: str = ""

    @property
    def differs(self) -> bool:
        """Whether any number is another one."""
        return bool(self.array or self.problem)

    def __str__(self) -> str:
        lines = [self.record.where, f"  {self.record.name}"]
        if self.record.place:
            lines.append(f"  {short_place(self.record.place)}")
        if self.problem:
            return "\n".join([*lines, f"  {self.problem}"])
        place = f"{self.array}[{', '.join(map(str, self.index))}]" if self.index else self.array
        return "\n".join([*lines, f"  largest difference {number(abs(self.after - self.before))}, at {place} of "
                                  f"{shape_text(self.record.shapes[self.array])}",
                          f"  {self.before:.8g} became {self.after:.8g}"])


@dataclass(frozen=True)
class Comparison:
    """The differences of all records of two timelines, in order."""

    first_timeline: Timeline
    second_timeline: Timeline
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        """Whether both have the same numbers throughout."""
        return self.first is None

    @property
    def first(self) -> Difference | None:
        """The first record that differs."""
        return next((difference for difference in self.differences if difference.differs), None)

    @property
    def across(self) -> bool:
        """Whether they were computed on different devices."""
        return self.first_timeline.device != self.second_timeline.device

    def title(self) -> str:
        """What was compared."""
        timelines = self.first_timeline, self.second_timeline
        a, b = (" with ".join([f"step {t.number:,}{f' on {t.device}' * self.across}",
                               *filter(None, [" and ".join(t.changes)])]) for t in timelines)
        return f"{a} beside {b}"

    def rows(self) -> list[list[Any]]:
        """How the difference grows, for each part of the step that differs: see HEADERS."""
        rows = []
        for (phase, part), group in groupby(self.differences, lambda d: (d.record.phase, d.record.part)):
            members = list(group)
            apart = [d for d in members if d.differs]
            if apart:
                worst = max(apart, key=lambda d: d.relative)
                rows.append([phase if part is None else f"{phase} {part}", f"{len(apart)} of {len(members)}",
                             median(d.relative for d in apart), worst.relative, worst.record.name])
        return rows

    def notes(self) -> list[str]:
        """What to know when reading the rows."""
        parts = {d.record.part: False for d in self.differences if d.record.part is not None}
        parts |= {d.record.part: True for d in self.differences if d.differs and d.record.part is not None}
        same = [part for part, differs in parts.items() if not differs]
        notes = [f"the same forward and backward: micro-batch{'es' * (len(same) > 1)} {', '.join(map(str, same))}"
                 ] if same else []
        if self.across:
            notes.append("on two devices: differences of about 1e-6 are float32's rounding, and grow on the way")
        if any(row[4].endswith(KEY_BIAS) for row in self.rows()):
            notes.append("a key's bias adds the same to all scores of a row: its gradient is rounding")
        return notes

    def __str__(self) -> str:
        title = fill(self.title(), 80, break_long_words=False)
        if self.first is None:
            return f"{title}\nidentical: the same numbers in all {len(self.differences):,} records"
        rows = [[where, differ, f"{middle:.1e}", f"{largest:.1e}", end_of(name, WORST)]
                for where, differ, middle, largest, name in self.rows()]
        lines = [title, f"\nfirst difference: {self.first}", "\nrelative difference",
                 table(rows, HEADERS, indent=2), *self.notes()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if self.first is None:
            return f'<pre style="{FONT}">{escape(str(self))}</pre>'
        head = escape(f"{self.title()}\n\nfirst difference: {self.first}\n\nrelative difference")
        return (f'<pre style="{FONT}">{head}</pre>{html_table(self.rows(), HEADERS)}'
                f'<pre style="{FONT}">{escape(chr(10).join(self.notes()))}</pre>')

    def figure(self) -> Any:
        """A matplotlib figure: the relative difference of every record, along the step."""
        from minibert.debug.replaying.figure import growth_figure

        return growth_figure(self)


HEADERS = ("where", "differ", "median", "largest", "in")


def compare(first: Timeline | Replay, second: Timeline | Replay) -> Comparison:
    """Compare two computations of a step, record by record; replays are computed first.

    Raises InputError when the records of a timeline did not keep their arrays.
    """
    a, b = (x.run() if isinstance(x, Replay) else x for x in (first, second))
    if any(record.arrays is None for t in (a, b) for record in t.records):
        raise InputError("timelines without their arrays cannot be compared: compute them with run(keep=True)")
    return Comparison(a, b, tuple(_differences(a, b)))


def _differences(a: Timeline, b: Timeline) -> Iterator[Difference]:
    """One for each record of a, then one for each that only b has."""
    others = {record.key: record for record in b.records}
    for record in a.records:
        other = others.pop(record.key, None)
        if other is None:
            yield Difference(record, np.inf, problem="is not computed in the second")
        else:
            yield record_difference(record, other)
    for record in others.values():
        yield Difference(record, np.inf, problem="is not computed in the first")


def record_difference(a: Record, b: Record) -> Difference:
    """How the numbers of one record differ from those of its namesake."""
    assert a.arrays is not None and b.arrays is not None
    if a.shapes != b.shapes:
        shapes = [", ".join(f"{kind} {shape_text(shape)}" for kind, shape in x.shapes.items()) for x in (a, b)]
        return Difference(a, np.inf, problem=f"computes {shapes[0]} in the first and {shapes[1]} in the second")
    apart = {kind: _apart(x, b.arrays[kind]) for kind, x in a.arrays.items()}
    largest = {kind: float(d.max()) for kind, d in apart.items() if d.size and d.max() > 0.0}
    if not largest:
        return Difference(a)
    measured = ["update"] if "update" in apart else list(apart)
    size = float(np.linalg.norm([a.norms[kind] for kind in measured]))
    distance = float(np.linalg.norm([norm(apart[kind]) for kind in measured]))
    worst = max(largest, key=lambda kind: largest[kind])
    index = tuple(int(i) for i in np.unravel_index(int(apart[worst].argmax()), apart[worst].shape))
    return Difference(a, distance / size if size > 0.0 else np.inf if distance else 0.0, worst, index,
                      float(a.arrays[worst][index]), float(b.arrays[worst][index]))


def _apart(a: Array, b: Array) -> Array:
    """|a - b|; 0 for two that are alike, and infinity where only one is a number."""
    with np.errstate(invalid="ignore"):
        d = np.abs(a.astype(np.float64) - b.astype(np.float64))
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(alike, 0.0, np.where(np.isnan(d), np.inf, d))
