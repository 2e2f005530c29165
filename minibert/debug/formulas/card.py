"""What is known about an operation, on one card: formulas, shapes, what is saved, kinks, source, where the code is.

    card("layer_norm")     # in a notebook with formulas as in a book, in a terminal as text
    card()                 # all operations

Tests hold the formulas against the code; `minibert.debug.formulas.evaluate` says how they are read.
"""

import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import minibert.ops
from minibert.debug.formulas.legend import legend
from minibert.debug.formulas.mathml import math, mathml, statement_mathml
from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.text import statement_text, text
from minibert.debug.formulas.tree import Expression, Name, Statement, Words, walk
from minibert.debug.html import FONT, LINE, MUTED
from minibert.errors import InputError
from minibert.ops.registry import REGISTRY, Op

COLUMNS = 80
UNBROKEN = "\u00a0"  # a space at which no line ends
LABEL = 10  # columns of the labels on the left
ROOT = Path(minibert.ops.__file__).parents[2]
Line: TypeAlias = list[str | Statement | Expression]  # plain words and parts of formulas, one after the other
SUMMED = "the gradients are summed back to the shapes of the inputs"
CELL = f"padding:3px 14px 3px 0;vertical-align:top;text-align:left;border-top:1px solid {LINE}"


@dataclass(frozen=True, repr=False)
class Card:
    """One operation."""

    op: Op

    def __repr__(self) -> str:
        blocks = [self.op.name, *textwrap.wrap(about(self.op), COLUMNS), ""]
        for label, lines in self.rows():
            wrapped = [piece for line in lines for piece in wrap(line_text(line), COLUMNS - LABEL, "    ")]
            blocks += [(label if i == 0 else "").ljust(LABEL) + piece for i, piece in enumerate(wrapped)]
        return "\n".join(blocks)

    def _repr_html_(self) -> str:
        body = "".join(f'<tr><th scope="row" style="{CELL};color:{MUTED};font-weight:normal">{label}</th>'
                       f'<td style="{CELL}">{"".join(map(line_html, lines))}</td></tr>' for label, lines in self.rows())
        return (f'<div style="max-width:860px"><div><b style="{FONT};font-size:15px">{self.op.name}</b></div>'
                f'<div style="margin:4px 0">{escape(about(self.op))}</div>'
                f'<table style="border-collapse:collapse;font-size:14px"><tbody>{body}</tbody></table></div>')

    def rows(self) -> Iterator[tuple[str, list[Line]]]:
        """A label and the lines beside it, where there is something to say."""
        op = self.op
        every: tuple[tuple[str, list[Line]], ...] = (
            ("forward", [[statement] for statement in parse(op.formula)]),
            ("backward", [[statement] for statement in parse(op.gradient)]),
            ("where", [*self.letters(), *said(*legend(op.formula, op.gradient))]),
            ("shapes", said(op.shapes, SUMMED) if "broadcastable" in op.shapes else said(op.shapes)),
            ("saved", [[f"{name}: ", *self.meaning(name)] for name in op.saved] or said("nothing")),
            ("kinks", said(op.kinks) if op.kinks else []),
            ("source", said(op.source) if op.source else []),
            ("code", said(*(f"{function.__name__}  {place(function)}" for function in (op.forward, op.backward)))))
        return ((label, lines) for label, lines in every if lines)

    def letters(self) -> Iterator[Line]:
        """What the letters of the formulas are in the code, and what the indices number."""
        op = self.op
        words = {name: x for name, latex in op.notation.items() if isinstance(x := parse(latex)[0].left, Words)}
        for name, latex in op.notation.items():
            if name in words:
                if name not in (*op.saved, *op.notation.values()) or name == op.notation.get("keep"):
                    yield [Name(name), ": ", words[name]]
            elif name in inspect.signature(op.forward).parameters or name == op.output:
                more: Line = [", ", words[latex]] if latex in words else []
                yield [parse(latex)[0].left, f": {name}", *more]

    def meaning(self, name: str) -> Line:
        """What a saved value is."""
        op = self.op
        letters = {x.key: x for x in walk(tuple(parse(op.formula))) if isinstance(x, Name)}
        letter = parse(op.notation[name])[0].left if name in op.notation else letters.get(name, Name(name))
        if isinstance(letter, Words):
            return [letter]
        if name.endswith("_shape"):
            return [f"the shape of {name.removesuffix('_shape')}"]
        roles = {**dict.fromkeys(inspect.signature(op.forward).parameters, "the argument"),
                 **dict.fromkeys(op.inputs, "the input"), op.output: "the output"}
        if name in roles:
            return [roles[name], *([] if letter == Name(name) else [" ", letter])]
        return ["as in the formula"] if letter == Name(name) else [letter]


class Cards(tuple[Card, ...]):
    """Several operations, by name."""

    __slots__ = ()

    def __repr__(self) -> str:
        lines = []
        wide = max(len(one.op.name) for one in self) + 2
        for one in self:
            statements = [statement_text(statement).replace(" ", UNBROKEN) for statement in parse(one.op.formula)]
            wrapped = wrap(", ".join(statements), COLUMNS - wide)
            lines += [(one.op.name if i == 0 else "").ljust(wide) + piece for i, piece in enumerate(wrapped)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left;padding-right:14px;color:{MUTED};font-weight:normal">{title}</th>'
                       for title in ("operation", "forward", "backward"))
        rows = []
        for one in self:
            formulas = ["".join(line_html([statement]) for statement in parse(x))
                        for x in (one.op.formula, one.op.gradient)]
            rows.append("".join(f'<td style="{CELL}">{cell}</td>' for cell in (line_html([one.op.name]), *formulas)))
        return (f'<table style="border-collapse:collapse;font-size:14px"><thead><tr>{head}</tr></thead><tbody>'
                + "".join(f"<tr>{cells}</tr>" for cells in rows) + "</tbody></table>")


def card(name: str = "") -> Card | Cards:
    """The card of an operation, or without a name those of all operations.  Raises InputError for an unknown name."""
    if not name:
        return cards()
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(sorted(REGISTRY))}"
        raise InputError(f"there is no operation {name!r}: {hint}")
    return Card(REGISTRY[name])


def cards() -> Cards:
    """The cards of all operations, file by file."""
    return Cards(Card(op) for op in sorted(REGISTRY.values(), key=lambda op: op.forward.__module__))


def said(*lines: str) -> list[Line]:
    """Lines of words alone."""
    return [[line] for line in lines]


def about(op: Op) -> str:
    """What the operation does, where its docstring begins with words and not with a formula."""
    first = (inspect.getdoc(op.forward) or "").partition("\n\n")[0].replace("\n", " ")
    return "" if re.match(r"\w+ = ", first) else first


def place(function: Callable[..., Any]) -> str:
    """file:line, from the folder that holds the package."""
    code = function.__code__
    return f"{Path(code.co_filename).relative_to(ROOT).as_posix()}:{code.co_firstlineno}"


def line_text(line: Line) -> str:
    """A line as text."""
    return "".join(part if isinstance(part, str) else
                   statement_text(part) if isinstance(part, Statement) else text(part) for part in line)


def line_html(line: Line) -> str:
    """A line as HTML, its formulas as MathML; a formula may be higher than the line that its font asks for."""
    inside = "".join(escape(part) if isinstance(part, str) else
                   math(statement_mathml(part) if isinstance(part, Statement) else mathml(part)) for part in line)
    height = 2 if all(isinstance(part, str) for part in line) else 5
    return f'<div style="padding:{height}px 0">{inside}</div>'


def wrap(line: str, columns: int, indent: str = "") -> list[str]:
    """The line in pieces, none of which ends inside a shape."""
    line = re.sub(r"\([A-Z, .]*\)", lambda shape: shape.group().replace(" ", UNBROKEN), line)
    return [piece.replace(UNBROKEN, " ") for piece in textwrap.wrap(line, columns, subsequent_indent=indent,
                                                                    break_on_hyphens=False)]
