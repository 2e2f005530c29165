"""How the debugging tools write in a terminal: colours where there is one that has them, and plain tables."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from minibert.summary import number

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35",
         "cyan": "36"}


def has_colour(stream: Any = None) -> bool:
    """Whether to write colours: to a terminal, and unless NO_COLOR is set (no-color.org)."""
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, colour: bool) -> str:
    """The text in a style of CODES, if `colour`."""
    return f"\033[{CODES[style]}m{text}\033[0m" if colour else text


def width(limit: int = 120) -> int:
    """Columns to write in: the terminal's, 80 in a pipe, and no more than `limit`."""
    return min(shutil.get_terminal_size((80, 24)).columns, limit)


def cell(x: Any) -> str:
    """A value as it stands in a table."""
    return number(float(x)) if isinstance(x, float) or (hasattr(x, "dtype") and x.ndim == 0) else str(x)


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str] = (), indent: int = 0) -> str:
    """Columns of text; numbers to the right."""
    lines = [[cell(x) for x in row] for row in rows]
    every = [list(headers), *lines] if headers else lines
    columns = range(len(every[0])) if every else ()
    right = [all(not isinstance(row[i], str) for row in rows) for i in columns]
    widths = [max(len(line[i]) for line in every) for i in columns]
    return "\n".join((" " * indent + "  ".join(
        text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True))).rstrip()
        for line in every)
