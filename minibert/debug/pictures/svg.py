"""A small writer of SVG: boxes with lines of text, and edges; every length in pixels."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

FONT = "ui-monospace,Menlo,Consolas,monospace"
SIZE = 11.0  # of the text
ADVANCE = 0.62 * SIZE  # the width of a character: these fonts have 0.55 to 0.61 of their size
LINE_HEIGHT = 15.0
PADDING = 7.0
ARROW = 6.0
MUTED = "#57606a"

Point = tuple[float, float]


class Text(NamedTuple):
    """A line in a box, in a colour and a weight."""

    text: str
    colour: str = "#1f2328"
    weight: str = "normal"


def text_width(text: str) -> float:
    """Of one line, at most."""
    return ADVANCE * len(text)


def box_size(lines: Sequence[Text]) -> tuple[float, float]:
    """Width and height of a box around these lines."""
    return (max(text_width(line.text) for line in lines) + 2 * PADDING,
            LINE_HEIGHT * len(lines) + PADDING)


def box(name: str, x: float, y: float, lines: Sequence[Text], fill: str, stroke: str, title: str = "",
        dashed: bool = False) -> str:
    """A rectangle with its lines centred in it.  name: written down, so that a picture can be read again."""
    w, h = box_size(lines)
    texts = "".join(text(x + w / 2, y + PADDING / 2 + LINE_HEIGHT * (i + 0.74), line)
                    for i, line in enumerate(lines))
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (f'<g class="box" data-name="{escape(name)}">{_title(title)}<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" '
            f'height="{h:.1f}" rx="4" fill="{fill}" stroke="{stroke}"{dashes}/>{texts}</g>')


def frame(x: float, y: float, w: float, h: float, label: str, label_at: float, fill: str, stroke: str) -> str:
    """A rectangle around boxes, named at its upper side, `label_at` from the left."""
    name = text(x + label_at + PADDING, y + LINE_HEIGHT * 0.85, Text(label, MUTED), "start")
    return (f'<g class="frame"><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" fill="{fill}" '
            f'stroke="{stroke}"/>{name}</g>')


def text(x: float, y: float, line: Text, anchor: str = "middle") -> str:
    """One line of text; y is that of its base line."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{line.colour}" '
            f'font-weight="{line.weight}">{escape(line.text)}</text>')


def line(x: float, y: float, length: float, colour: str, width: float) -> str:
    """A piece of a level line."""
    return f'<path d="M{x:.1f} {y:.1f} h{length:.1f}" stroke="{colour}" stroke-width="{width:.1f}"/>'


def edge(source: str, target: str, points: Sequence[Point], colour: str, width: float, title: str = "") -> str:
    """A smooth line through the points, downwards, with an arrow at its end."""
    points = [point for point, before in zip(points, [None, *points], strict=False) if point != before]
    x, y = points[-1]
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in zip(points, [*points[1:-1], (x, y - ARROW)], strict=False):
        middle = (y0 + y1) / 2
        straight = abs(x1 - x0) < 0.5
        path.append(f"L{x1:.1f} {y1:.1f}" if straight else
                    f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    return (f'<g class="edge" data-source="{escape(source)}" data-target="{escape(target)}">{_title(title)}'
            f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="{width:.1f}"/>'
            f'<path d="M{x - 3.5:.1f} {y - ARROW:.1f} L{x + 3.5:.1f} {y - ARROW:.1f} L{x:.1f} {y:.1f} Z" '
            f'fill="{colour}"/></g>')


def document(width: float, height: float, parts: Sequence[str]) -> str:
    """A whole picture on white, no wider than the page it stands on."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" style="max-width:100%;height:auto;background:white" font-family="{FONT}" '
            f'font-size="{SIZE:.0f}">{"".join(parts)}</svg>')


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""
