"""Pieces of static HTML for notebooks: each style stands in its element, so nothing is fetched, and pages keep it."""

from collections.abc import Sequence
from html import escape
from typing import Any

from minibert.debug.show import cell

FONT = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
LINE = "#d8dee4"
MUTED = "#57606a"


def span(text: str, style: str = "") -> str:
    """Escaped text in a style."""
    return f'<span style="{style}">{escape(text)}</span>'


def heat(value: float, scale: float) -> str:
    """A background: red for positive, blue for negative, as strong as |value| / scale."""
    strength = min(abs(value) / scale, 1.0) if scale > 0.0 else 0.0
    return f"background:rgba({'214,69,65' if value > 0 else '52,120,198'},{0.65 * strength:.2f})"


def html_table(rows: Sequence[Sequence[Any]], headers: Sequence[str] = (), styles: Sequence[Sequence[str]] = ()) -> str:
    """A table of escaped values, numbers to the right; `styles`: one for each cell, where given."""
    head = "".join(f'<th style="text-align:left;padding:2px 8px;color:{MUTED}">{escape(h)}</th>' for h in headers)
    body = []
    for i, row in enumerate(rows):
        cells = []
        for j, x in enumerate(row):
            align = "left" if isinstance(x, str) else "right"
            style = f"padding:2px 8px;text-align:{align};border-top:1px solid {LINE};{styles[i][j] if styles else ''}"
            cells.append(f'<td style="{style}">{escape(cell(x))}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (f'<table style="border-collapse:collapse;{FONT}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table>")
