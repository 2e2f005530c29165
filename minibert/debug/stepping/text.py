"""An event in lines of plain text, for a terminal and for `print`."""

import os
import textwrap
from pathlib import Path
from typing import NamedTuple

from minibert.backend import Array
from minibert.debug.checking.gradcheck import GradientReport
from minibert.debug.formulas import as_text
from minibert.debug.show import cell
from minibert.debug.stepping.event import ADDED, AFTER, BEFORE, INCOMING, OUTPUT, SAVED, Event, Value, is_finite
from minibert.debug.stepping.view import CHOSEN_COLUMNS, CHOSEN_ROWS, View, cut
from minibert.graph import PACKAGE
from minibert.summary import shape_text, summary

WIDTH = 80
GUTTER = 9  # columns before the text of a line
STYLES = {OUTPUT: "green", INCOMING: "green", ADDED: "yellow"}


class Line(NamedTuple):
    """A line, and its style for a terminal that has colours (of `show.CODES`, or none)."""

    text: str
    style: str = ""


def event_lines(event: Event, width: int = WIDTH, rows: int = CHOSEN_ROWS) -> list[Line]:
    """Everything about an event; rows: how many rows of each array at most."""
    op = event.node.op
    lines = [Line(f"step {event.number} of {event.count}   {event.phase}   {op.name}", "bold")]
    if event.node.module:
        lines += field("module", event.node.module, width)
    for name, place in zip(("line", "from"), places(event), strict=False):
        lines.append(Line(shortened(f"{name:<{GUTTER - 1}} {place}", width), "dim"))
    lines += field("formula", as_text(event.formula), width, "cyan")
    lines += field("shapes", op.shapes, width) + field("here", event.shapes, width)
    if event.settings:
        lines.append(Line(shortened(f"{'with':<{GUTTER - 1}} {', '.join(event.settings)}", width), "dim"))
    if rows:
        lines.append(Line(""))
    for value in event.values:
        lines += value_lines(value, event.view, width, 0 if value.role == SAVED else rows)
    return lines


def shortened(text: str, width: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= width else text[:width - 4].rstrip() + " ..."


def field(name: str, text: str, width: int, style: str = "") -> list[Line]:
    """A name and its text, wrapped."""
    found = textwrap.wrap(text, width, initial_indent=f"{name:<{GUTTER - 1}} ", subsequent_indent=" " * GUTTER)
    return [Line(line, style) for line in found]


def value_lines(value: Value, view: View, width: int, rows: int) -> list[Line]:
    """Name, shape and range, where it is from or goes to, and some numbers."""
    role = {SAVED: "uses", BEFORE: "  before", AFTER: "  after"}.get(value.role, value.label)
    name = f"{value.label}  " if value.role == SAVED else ""
    style = STYLES.get(value.role, "") if is_finite(value.array) else "red"
    first = f"{role:<{GUTTER - 1}} {name}{shape_text(value.array.shape)}  {about(value.array)}"
    if value.note and len(first) + 2 + len(value.note) <= width:
        lines = [Line(f"{first}  {value.note}", style)]
    else:
        lines = [Line(line, style) for line in textwrap.wrap(first, width, subsequent_indent=" " * GUTTER)]
        lines += [Line(" " * GUTTER + text, "dim") for text in textwrap.wrap(value.note, width - GUTTER)]
    if rows and value.array.size > 1:
        lines += [Line(line) for line in block_lines(value.array, view, width, rows)]
    return lines


def about(array: Array) -> str:
    """A single number itself, the summary of more."""
    return cell(array.item()) if array.size == 1 else summary(array)


def block_lines(array: Array, view: View, width: int, rows: int) -> list[str]:
    """Some numbers of an array, as many columns as the width has room for."""
    lines: list[str] = []
    for columns in range(CHOSEN_COLUMNS, 0, -1):
        block = cut(array, view, rows, columns)
        numbers = [[cell(x) for x in row] for row in block.rows]
        widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
        aligned = ["".join(f"  {x:>{w}}" for x, w in zip(row, widths, strict=True)) for row in numbers]
        lead = " " * GUTTER + block.place
        lines = [lead + aligned[0], *(" " * len(lead) + row for row in aligned[1:])]
        if max(map(len, lines), default=0) <= width:
            return lines
    return [line[:width] for line in lines]


def places(event: Event) -> list[str]:
    """The line of the model that asked for the operation, with its source; and the line that called the model."""
    calls = event.node.forward_frame()
    found = [f"{short_path(call.filename)}:{call.lineno}" + (f"   {call.line}" if call.line else "") for call in calls]
    return found[::-1]


def short_path(path: str) -> str:
    """A file of this package from the package on; any other from the working folder on, if it is in there."""
    for above in (Path(PACKAGE).parent, Path(os.getcwd())):
        if Path(path).is_relative_to(above):
            return str(Path(path).relative_to(above))
    return path


def report_lines(report: GradientReport, width: int = WIDTH) -> list[Line]:
    """What a numerical check of an operation found, narrower than the report itself."""
    lines = [Line(f"check of {report.title}, numerically, in float64: {'ok' if report.ok else 'WRONG'}",
                  "green" if report.ok else "red")]
    for row in report.rows:
        numbers = row.problem or (f"slope {row.numeric:+.6e}, backward {row.analytic:+.6e}, "
                                  f"error {row.error:.0e} of {row.tolerance:.0e}")
        lines += [line._replace(style="" if row.ok else "red") for line in
                  field(f"d{row.name}", f"{'ok' if row.ok else 'WRONG'}   {numbers}", width)]
    return lines
