"""`Split`: the terms of a sum, as a sequence, a table, a page and a picture."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minibert.backend import Array
from minibert.debug.provenance.figure import heat_map, lying_bars, upright_bars
from minibert.debug.provenance.text import about, html_about, html_rows, lines_of, rows_of, scale_of
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.debug.provenance.term import Term

LINES = 20  # of a table in a terminal
LARGEST_FIRST = (("use",), ("path",), ("token",))  # what has no order of its own


class Split(Sequence["Term"]):
    """The terms that a term is the sum of.

    names: what it was split by.  values: the number of each term.
    """

    def __init__(self, whole: "Term", names: tuple[str, ...], terms: Sequence["Term"]) -> None:
        self.whole, self.names = whole, names
        self.terms = sorted(terms, key=lambda term: -abs(term.value)) if names in LARGEST_FIRST else list(terms)

    @property
    def values(self) -> Array:
        """The terms' numbers, in their order."""
        return np.array([term.value for term in self.terms])

    def at(self, *where: int) -> "Term":
        """The term of these coordinates, as in by("example", "position").at(2, 5).

        Raises InputError when there is none.
        """
        for term in self.terms:
            if term.where == where and where:
                return term
        raise InputError(f"no term of this split by {' and '.join(self.names)} is at {where}")

    def grid(self) -> tuple[list[int], list[int], Array]:
        """Of a split by two coordinates: the numbers of either, and the terms' numbers in their table.

        Raises InputError for another split.
        """
        if len(self.names) != 2:
            raise InputError("only a split by two coordinates is a table, as by('example', 'position') gives it")
        placed = [term for term in self.terms if term.where]
        rows, columns = (sorted({term.where[k] for term in placed}) for k in (0, 1))
        table = np.zeros((len(rows), len(columns)))
        for term in placed:
            table[rows.index(term.where[0]), columns.index(term.where[1])] = term.value
        return rows, columns, table

    def figure(self) -> Any:
        """Bars, or a heat map of two coordinates, as a matplotlib Figure."""
        title = f"{self.whole.question.title}\n{self._what()}"
        if self.whole.parent is not None:
            title += f": {self.whole.label}"
        if len(self.names) == 2:
            return heat_map(title, self.names, *self.grid())
        if self.names in LARGEST_FIRST or not self.terms[0].where:
            return lying_bars(title, rows_of(self, LINES))
        places = [term.where[0] if term.where else "none" for term in self.terms]
        return upright_bars(title, self.values.tolist(), self.names[0], places)

    def _what(self) -> str:
        return self.names[0] if self.names == ("through",) else f"by {' and '.join(self.names)}"

    @overload
    def __getitem__(self, i: int) -> "Term": ...
    @overload
    def __getitem__(self, i: slice) -> list["Term"]: ...

    def __getitem__(self, i: int | slice) -> "Term | list[Term]":
        return self.terms[i]

    def __len__(self) -> int:
        return len(self.terms)

    def __iter__(self) -> "Iterator[Term]":
        return iter(self.terms)

    def __str__(self) -> str:
        rows = rows_of(self, LINES)
        return "\n".join([*about(self.whole), self._what(), *lines_of(rows, scale_of(rows))])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_about(self.whole) + html_rows(rows_of(self, LINES), self._what())
