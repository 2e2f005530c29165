"""`Term`: a part of one gradient entry, which can be split further."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minibert.debug.execution import Execution
from minibert.debug.provenance.coordinates import Names
from minibert.debug.provenance.names import loss_name, named_nodes, place_name, use_name
from minibert.debug.provenance.routes import Route
from minibert.debug.provenance.split import Split
from minibert.debug.provenance.text import Text, heading, html_of, text_of, tree_of
from minibert.debug.provenance.ways import by_loss, by_path, by_places, by_use
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.tensor import Tensor

TOLERANCE = 1e-10  # of sums in float64, relative to what was added up
SHAKES = 3  # of which the largest is taken: one alone may be small by chance


@dataclass(frozen=True)
class Question:
    """What is asked about, the same for every term of an answer."""

    title: str  # d loss / d name[i, j]
    note: str  # what else is known of the number
    execution: Execution
    coordinates: dict[Source, Names]
    word: Callable[[int], str] | None  # the text of a token's id


class Term:
    """A part of one gradient entry: what comes down some routes.

    label: which part.  where: its coordinates, where it was split by places.  parent: the term it is a part of.
    """

    def __init__(self, question: Question, label: str, routes: Iterable[Route], where: tuple[int, ...] = (),
                 parent: "Term | None" = None) -> None:
        self.question, self.label, self.routes = question, label, tuple(routes)
        self.where, self.parent = where, parent

    @cached_property
    def value(self) -> float:
        """Its number: the sum over its routes."""
        return float(sum(route.value for route in self.routes))

    def by(self, *names: str) -> Split:
        """The same number as a sum of terms, split at the value to which the routes lead.

            "use"     by the operations that use this value: one step towards the loss
            "path"    by use, at the next value that has several uses
            "loss"    by the terms of the sum that the loss is
            "example", "position", "token", "segment", "head", "feature", or two of these
                      by places of this value, or of the first values after it that have such places; a token is
                      the one that was looked up at that place of the text

        Raises InputError when it cannot be split so, and says what can be done instead; AssertionError when the
        terms do not sum to the value, which would be a fault of a backward.
        """
        ways = {("use",): by_use, ("path",): by_path, ("loss",): by_loss}
        if names in ways:
            parts: Any = ways[names](self.routes)
            if not parts:
                what = "fork" if names == ("path",) else "use"
                raise InputError(f"there is no {what} on the way from {self._ends()} to the loss: nothing to split")
        elif len(names) in (1, 2) and len(set(names)) == len(names) and not set(names) & {"use", "path", "loss"}:
            parts = by_places(self.routes, names, self.question.coordinates)
        else:
            raise InputError(f"by{names} cannot be: name one of use, path and loss, or one or two different "
                             f"coordinates, as in by('example', 'position')")
        return self._split(names, [
            Term(self.question, self._label(names, key), found, () if names in ways else key, self)
            for key, found in parts.items()])

    def through(self, what: "str | Node | Tensor") -> Split:
        """Two terms: what flows through the output of `what`, on all its ways; and the rest.

        what: the path of a module; an operation, by its name or as Execution.name gives it; a node; or a tensor.
        Raises InputError when nothing of this name lies between here and the loss.
        """
        nodes, name = named_nodes(self.question.execution, what)
        pairs = [route.until(lambda x: x in nodes) for route in self.routes]
        through, rest = ([found for pair in pairs for found in pair[k]] for k in (0, 1))
        if not through:
            raise InputError(f"{name} does not lie between {self._ends()} and the loss: nothing flows through it")
        return self._split(("through",), [Term(self.question, f"through {name}", through, parent=self),
                                          Term(self.question, "the rest", rest, parent=self)])

    def tree(self, depth: int = 3, top: int = 3) -> Text:
        """The largest terms, the largest terms of these, and so on: each level is one fork further."""
        return tree_of(self, depth, top)

    def _label(self, names: Sequence[str], key: Any) -> str:
        execution = self.question.execution
        if names in (("use",), ("path",)):
            return use_name(execution, *key)
        if names == ("loss",):
            return loss_name(execution, key[0])
        word = self.question.word
        return ", ".join(place_name(name, number, word(number) if word and name == "token" else "")
                         for name, number in zip(names, key, strict=True)) if key else f"no {' or '.join(names)}"

    def _ends(self) -> str:
        """Where the routes lead to."""
        ends = dict.fromkeys(self.question.execution.name(route.end) for route in self.routes)
        return " and ".join(list(ends)[:2]) or "an empty term"

    def _split(self, names: tuple[str, ...], terms: list["Term"]) -> Split:
        """The terms, which must sum to the value."""
        values = [self.value, *(term.value for term in terms)]
        error, scale = abs(values[0] - sum(values[1:])), sum(map(abs, values))
        if not error <= TOLERANCE * scale:  # a sum that cancels to about 0 further down has rounding only
            scale += self._rounded(terms)
        if not error <= TOLERANCE * scale:
            raise AssertionError(f"{self.question.title}: the terms by {' and '.join(names)} sum to {sum(values[1:])}, "
                                 f"not to {values[0]}: a backward on the way is wrong, see minibert.debug.bisect")
        return Split(self, names, terms)

    def _rounded(self, terms: list["Term"]) -> float:
        """How large the numbers are that were added up, however they cancel."""
        rng = np.random.default_rng(0)
        routes = [route for term in (self, *terms) for route in term.routes]
        return sum(max(abs(route.shaken(rng)) for _ in range(SHAKES)) for route in routes)

    def __repr__(self) -> str:
        return f"<{heading(self)}>"

    def __str__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)
