"""An SVG picture of minibert.debug, read again: where its boxes, texts and edges are."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from xml.etree import ElementTree

from minibert.debug.pictures.svg import ADVANCE, SIZE

Rect = tuple[float, float, float, float]  # left, top, right, bottom
SVG = "{http://www.w3.org/2000/svg}"


@dataclass
class Picture:
    size: tuple[float, float]
    boxes: dict[str, Rect] = field(default_factory=dict)
    frames: dict[str, Rect] = field(default_factory=dict)
    texts: list[tuple[str, Rect]] = field(default_factory=list)
    edges: list[tuple[str, str, list[tuple[float, float]]]] = field(default_factory=list)
    looks: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    dashed: set[str] = field(default_factory=set)


def read(svg: str) -> Picture:
    root = ElementTree.fromstring(svg)
    picture = Picture(tuple(map(float, root.get("viewBox").split()[2:])))
    drawing = next(g for g in root.findall(f"{SVG}g") if g.get("transform"))
    for g in drawing.findall(f"{SVG}g"):
        kind, rect = g.get("class"), g.find(f"{SVG}rect")
        if kind == "box":
            name = g.get("data-name")
            assert name not in picture.boxes, f"{name} is drawn twice"
            picture.boxes[name] = _rect(rect)
            picture.titles[name] = g.findtext(f"{SVG}title", "")
            if rect.get("stroke-dasharray"):
                picture.dashed.add(name)
        elif kind == "frame":
            picture.frames[g.findtext(f"{SVG}text")] = _rect(rect)
        elif kind == "edge":
            line = g.find(f"{SVG}path")
            ends = g.get("data-source"), g.get("data-target")
            tip = g.findall(f"{SVG}path")[1].get("d").split("L")[2].split("Z")[0].split()
            picture.edges.append((*ends, [*_points(line.get("d")), tuple(map(float, tip))]))
            picture.looks[ends] = line.get("stroke"), float(line.get("stroke-width"))
    picture.texts = [(t.text, _text(t)) for t in drawing.iter(f"{SVG}text")]
    return picture


def overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(a: Rect, b: Rect) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def _rect(rect) -> Rect:
    x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + w, y + h


def _text(text) -> Rect:
    width = ADVANCE * len(text.text)
    left = float(text.get("x")) - (width / 2 if text.get("text-anchor") == "middle" else 0.0)
    base = float(text.get("y"))
    return left, base - 0.75 * SIZE, left + width, base + 0.2 * SIZE


def _points(path: str) -> list[tuple[float, float]]:
    """Points along a path, close to each other."""
    points: list[tuple[float, float]] = []
    for command, numbers in re.findall(r"([MLC])([^MLC]*)", path):
        values = list(map(float, numbers.split()))
        corners = list(zip(values[::2], values[1::2], strict=True))
        if command == "M":
            points.append(corners[0])
            continue
        control = [points[-1], *corners]
        for i in range(1, 21):
            level = control
            while len(level) > 1:
                level = [((1 - i / 20) * x0 + i / 20 * x1, (1 - i / 20) * y0 + i / 20 * y1)
                         for (x0, y0), (x1, y1) in pairwise(level)]
            points.append(level[0])
    return points
