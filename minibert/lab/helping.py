"""Hints: a ladder from a nudge to nearly the solution."""

from dataclasses import dataclass
from html import escape

from minibert.debug.html import MUTED
from minibert.lab.declaring import declared, exercise, notebooks
from minibert.lab.record import Record


@dataclass(frozen=True, repr=False)
class Hint:
    """One rung of the ladder."""

    title: str
    text: str

    def __repr__(self) -> str:
        return f"{self.title}\n  {self.text}"

    def _repr_html_(self) -> str:
        return (f'<div style="border-left:4px solid #9a6700;padding:4px 12px"><div style="color:{MUTED}">'
                f"{escape(self.title)}</div><div>{escape(self.text)}</div></div>")


def hint(number: str) -> Hint:
    """The next hint to an exercise; after the last, the last again, and where the solution is.

    Raises InputError when there is no exercise with this number.
    """
    asked = exercise(number)
    count = len(asked.hints)
    record = Record.here()
    seen = record.hints(number)
    i = min(seen, count - 1)
    note = record.hinted(number, i + 1)
    text = asked.hints[i]
    if seen >= count:
        name = next(name for name in notebooks() if asked in declared(name))
        text += f"\n  That was the last hint. The solution is in solutions/{name}.py."
    return Hint(f"hint {i + 1} of {count} to {number} {asked.title}", f"{text}\n  {note}".rstrip())
