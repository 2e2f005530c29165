"""An answer in words: signed numbers with bars, because shares of a sum that cancels can exceed 100 %."""

from typing import TYPE_CHECKING

from minibert.debug.html import FONT, MUTED, heat, html_table, span
from minibert.debug.show import width
from minibert.errors import InputError

if TYPE_CHECKING:
    from minibert.debug.provenance.split import Split
    from minibert.debug.provenance.term import Term

SECTIONS = (("use", 3), ("loss", 2), ("token", 2))  # of an answer: how it is split, and into how many lines at most
HALF_BAR = 6  # characters on either side of 0
TITLE, NOTE = f"{FONT};font-weight:600", f"{FONT};color:{MUTED}"
Row = tuple[float, str]


class Text(str):
    """Lines that show themselves at a prompt as they are."""

    def __repr__(self) -> str:
        return str(self)


def bar(value: float, scale: float, half: int = HALF_BAR) -> str:
    """A bar from the middle: to the right for a positive number, to the left for a negative one."""
    blocks = "█" * (min(half, round(half * abs(value) / scale)) if scale else 0)
    left, right = ("", blocks) if value > 0 else (blocks, "")
    return f"{left:>{half}}│{right:<{half}}"


def rows_of(split: "Split", limit: int) -> list[Row]:
    """(value, label) of every term, or of the largest, and the sum of the others."""
    rows = [(term.value, term.label) for term in split]
    if len(rows) <= limit:
        return rows
    rows.sort(key=lambda row: -abs(row[0]))
    shown = [row for row in rows[:limit - 1] if row[0]]
    others = rows[len(shown):]
    return [*shown, (sum(value for value, _ in others), f"{len(others)} others together")]


def lines_of(rows: list[Row], scale: float) -> list[str]:
    """A line for every row, cut at the width of the terminal."""
    return _cut([f"  {value:+.3e} {bar(value, scale)} {label}" for value, label in rows])


def _cut(lines: list[str]) -> list[str]:
    columns = width()
    return [line if len(line) <= columns else line[:columns - 1] + "…" for line in lines]


def scale_of(rows: list[Row]) -> float:
    """The largest absolute number."""
    return max((abs(value) for value, _ in rows), default=0.0)


def heading(term: "Term") -> str:
    """Which number this is."""
    return f"{term.label} = {term.value:+.3e}"


def about(term: "Term") -> list[str]:
    """The heading, and what the number is a part of."""
    if term.parent is None:
        return [heading(term), f"  {term.question.note}"]
    lines, part = [heading(term)], term
    while part.parent is not None:
        part = part.parent
        lines.append(f"  of {heading(part)}")
    return _cut(lines)


def sections(term: "Term") -> list[tuple[str, list[Row]]]:
    """The splits that an answer shows, as far as the term has them."""
    found = []
    for name, limit in SECTIONS:
        try:
            split = term.by(name)
            if name == "use" and len(split) == 1:  # which says little
                name, split = "path", term.by("path")
            found.append((name, rows_of(split, limit)))
        except InputError:
            continue
    return found


def text_of(term: "Term") -> str:
    """At most a dozen lines."""
    lines = about(term)
    for name, rows in sections(term):
        lines += [f"by {name}", *lines_of(rows, scale_of(rows))]
    return "\n".join(lines)


def html_of(term: "Term") -> str:
    """The same, for a notebook."""
    pieces = [html_about(term)] + [html_rows(rows, f"by {name}") for name, rows in sections(term)]
    return "".join(pieces)


def html_about(term: "Term") -> str:
    """The lines of `about`."""
    first, *others = about(term)
    return f"<div>{span(first, TITLE)}</div>" + "".join(f"<div>{span(line, NOTE)}</div>" for line in others)


def html_rows(rows: list[Row], header: str) -> str:
    """A table of labels and numbers, red for positive and blue for negative."""
    scale = scale_of(rows)
    return html_table([(label, f"{value:+.3e}") for value, label in rows], (header, "share"),
                      [("", heat(value, scale)) for value, _ in rows])


def tree_of(term: "Term", depth: int, top: int) -> Text:
    """See Term.tree."""
    return Text("\n".join([heading(term), *_branches(term, depth, top, 1, abs(term.value))]))


def _branches(term: "Term", depth: int, top: int, level: int, scale: float) -> list[str]:
    """The lines below one term."""
    try:
        split = term.by("path") if depth else None
    except InputError:  # no further fork
        split = None
    lines: list[str] = []
    if split is None:
        return lines
    rows = rows_of(split, top + 1)
    scale = max(scale, scale_of(rows))
    terms = {one.label: one for one in split}
    for row in rows:
        lines += _cut([f"{'  ' * level}{row[0]:+.3e} {bar(row[0], scale, 3)} {row[1]}"])
        if row[1] in terms:
            lines += _branches(terms[row[1]], depth - 1, top, level + 1, scale)
    return lines
