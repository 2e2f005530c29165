"""Boxes within frames, joined by wires: each frame is laid out by itself, and then all of them together.

A wire that leaves its frame goes straight through the frame's border, so no wire runs through a box of another frame.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from minibert.debug.pictures.layered import Edge, Layout, layout
from minibert.debug.pictures.svg import (
    LINE_HEIGHT,
    MUTED,
    PADDING,
    Point,
    Text,
    box,
    box_size,
    edge,
    frame,
    text,
    text_width,
)

FOOT = 15.0  # room under a box, where a wire leaves and the shape of what it carries is written
INNER_GAP = 20.0
BEND = 8.0  # room above and below a box without a frame, where wires turn to their places
MARGIN = 12.0
PASSES = 3  # the first finds out from which side wires come, the others let them in there


@dataclass
class Item:
    """A box.  name: unique in the picture.  foot: written beside the wires that leave it, once for all of them."""

    name: str
    lines: Sequence[Text]
    foot: str = ""
    fill: str = "white"
    stroke: str = "#6e7781"
    title: str = ""
    dashed: bool = False

    @property
    def cell(self) -> tuple[float, float]:
        """The size of the box with its foot."""
        width, height = box_size(self.lines)
        return (max(width, 2 * (text_width(self.foot) + PADDING)), height + FOOT) if self.foot else (width, height)


@dataclass(eq=False)
class Wire:
    """From one item to another, named by their keys."""

    source: Hashable
    target: Hashable
    title: str = ""
    colour: str = "#8c959f"
    width: float = 1.2


Ways = dict[tuple[Hashable, "Panel"], list[Point]]  # from the panel of a source to another panel


@dataclass(eq=False)
class Panel:
    """Items that are laid out together, in a frame where the panel has a label."""

    members: Sequence[Hashable]
    label: str = ""
    fill: str = "white"
    stroke: str = "#d0d7de"


def draw(items: Mapping[Hashable, Item], wires: Sequence[Wire], panels: Sequence[Panel]
         ) -> tuple[float, float, list[str]]:
    """Width, height and the parts of a picture, in which each item stands in one panel, and no path leaves a panel and
    comes back.
    """
    order: dict[Wire, float] = {wire: i for i, wire in enumerate(wires)}
    for _ in range(PASSES):
        plans, paths, size, ways = _arrange(items, wires, panels, order)
        order = {wire: _approach(path) for wire, path in paths.items()} | _entries_in_order(plans, ways)
    parts = [plan.frame() for plan in plans if plan.panel.label]
    for wire in sorted(wires, key=lambda wire: wire.width):
        parts.append(edge(items[wire.source].name, items[wire.target].name, paths[wire], wire.colour, wire.width,
                          wire.title))
    for plan in plans:
        for key in plan.panel.members:
            parts += _box(items[key], plan.place(key))
    return size[0] + 2 * MARGIN, size[1] + 2 * MARGIN, parts


def _arrange(items: Mapping[Hashable, Item], wires: Sequence[Wire], panels: Sequence[Panel], order: Mapping[Wire, float]
             ) -> tuple[list["_Plan"], dict[Wire, list[Point]], Point, Ways]:
    """The panels in their places, the path of every wire, the size of it all, and the ways between panels.

    order: in which the wires that meet in one box come in, from the left.
    """
    plans = {panel: _Plan(panel, items, sorted(wires, key=order.__getitem__)) for panel in panels}
    home = {key: panel for panel in panels for key in panel.members}
    between = list(dict.fromkeys((wire.source, home[wire.target]) for wire in wires
                                 if home[wire.source] is not home[wire.target]))
    outer = layout({panel: plan.size for panel, plan in plans.items()},
                   [Edge(home[x], panel, plans[home[x]].exits[x][-1][0], plans[panel].entries[x])
                    for x, panel in between])
    for panel, plan in plans.items():
        plan.corner = outer.corners[panel][0] + MARGIN, outer.corners[panel][1] + MARGIN
    routes = {way: _moved(route, (MARGIN, MARGIN)) for way, route in zip(between, outer.routes, strict=True)}
    paths = {}
    for wire in wires:
        start, end = plans[home[wire.source]], plans[home[wire.target]]
        inside = _moved(end.routes[wire], end.corner)
        way = [] if start is end else [*_moved(start.exits[wire.source], start.corner), *routes[wire.source, end.panel]]
        x, y = (*way, *inside)[0]
        foot = FOOT if items[wire.source].foot else 0.0
        paths[wire] = [(x, y - foot), *way, *inside]
    return list(plans.values()), paths, (outer.width, outer.height), routes


def _approach(path: Sequence[Point]) -> float:
    """From where a wire comes, before its last bend."""
    return next((x for x, _ in reversed(path) if abs(x - path[-1][0]) > 0.5), path[-1][0])


def _entries_in_order(plans: list["_Plan"], ways: Ways) -> dict[Wire, float]:
    """The places where wires enter each panel, given to them in the order in which they come from outside."""
    found: dict[Wire, float] = {}
    for plan in plans:
        outside = sorted(plan.coming, key=lambda x: ways[x, plan.panel][-2][0])
        place = dict(zip(outside, sorted(plan.entries.values()), strict=True))
        found |= {wire: plan.corner[0] + place[wire.source] for wire in plan.wires if wire.source in place}
    return found


class _Plan:
    """The inside of one panel, in its own coordinates.

    entries: where the wires from a source outside come in, right of the left border.  exits: the way out of a member.
    routes: the way of every wire to a member, from its source or from where it comes in.
    """

    def __init__(self, panel: Panel, items: Mapping[Hashable, Item], wires: Sequence[Wire]) -> None:
        self.panel, self.items = panel, items
        members = set(panel.members)
        self.wires = [wire for wire in wires if wire.target in members]
        self.coming = list(dict.fromkeys(wire.source for wire in self.wires if wire.source not in members))
        self.leaving = list(dict.fromkeys(wire.source for wire in wires
                                          if wire.source in members and wire.target not in members))
        inner, self.corner = self._inner(), (0.0, 0.0)
        self.cells = inner.corners
        self.entries = {x: inner.corners["in", x][0] for x in self.coming}
        self.routes = dict(zip(self.wires, inner.routes, strict=False))
        self.exits = dict(zip(self.leaving, inner.routes[len(self.wires):], strict=True))
        self.size, self.label_at = (inner.width, inner.height), 0.0
        if panel.label:
            self._add_frame(inner)

    def place(self, key: Hashable) -> Point:
        """The upper left corner of a member's cell, in the picture."""
        return self.corner[0] + self.cells[key][0], self.corner[1] + self.cells[key][1]

    def frame(self) -> str:
        """The panel's border, with its label."""
        return frame(*self.corner, *self.size, self.panel.label, self.label_at, self.panel.fill, self.panel.stroke)

    def _inner(self) -> Layout:
        """The members with the places where wires come in and go out, and all the edges between them."""
        sizes: dict[Hashable, tuple[float, float]] = {key: self.items[key].cell for key in self.panel.members}
        coming, leaving = [("in", x) for x in self.coming], [("out", x) for x in self.leaving]
        sizes |= dict.fromkeys((*coming, *leaving), (0.0, 0.0))
        edges = [Edge(wire.source if wire.source in self.panel.members else ("in", wire.source), wire.target,
                      self._middle(wire.source), self._port(wire)) for wire in self.wires]
        edges += [Edge(x, ("out", x), self._middle(x), 0.0) for x in self.leaving]
        alone = len(self.panel.members) == 1 and not self.panel.label
        return layout(sizes, edges, coming, leaving, BEND if alone else INNER_GAP)

    def _add_frame(self, inner: Layout) -> None:
        """Room around the inside, and a place for the label that no wire runs through."""
        down = (PADDING, LINE_HEIGHT + 4.0)
        self.cells = {key: (x + down[0], y + down[1]) for key, (x, y) in self.cells.items()}
        self.entries = {x: at + down[0] for x, at in self.entries.items()}
        for wire, route in self.routes.items():
            self.routes[wire] = _moved(route, down)
            if wire.source in self.coming:
                self.routes[wire] = [(self.routes[wire][0][0], 0.0), *self.routes[wire]]
        bottom = inner.height + down[1] + (0.0 if self.leaving else PADDING)
        self.exits = {x: _moved(route, down) for x, route in self.exits.items()}
        wide = text_width(self.panel.label) + 2 * PADDING
        taken = sorted(self.entries.values())
        self.label_at = next(at for at in [0.0, *taken] if not any(at < x < at + wide for x in taken))
        self.size = max(inner.width + 2 * PADDING, self.label_at + wide), bottom

    def _middle(self, key: Hashable) -> float:
        return self.items[key].cell[0] / 2 if key in self.panel.members else 0.0

    def _port(self, wire: Wire) -> float:
        """Where a wire meets the upper side of its target: they come in order, at equal distances."""
        item = self.items[wire.target]
        mine = [other for other in self.wires if other.target == wire.target]
        width = box_size(item.lines)[0]
        return (item.cell[0] - width) / 2 + width * (mine.index(wire) + 1) / (len(mine) + 1)


def _box(item: Item, corner: Point) -> list[str]:
    width, height = box_size(item.lines)
    x, y = corner[0] + (item.cell[0] - width) / 2, corner[1]
    parts = [box(item.name, x, y, item.lines, item.fill, item.stroke, item.title, item.dashed)]
    if item.foot:
        parts.append(text(x + width / 2 + 4, y + height + FOOT * 0.75, Text(item.foot, MUTED), "start"))
    return parts


def _moved(points: Sequence[Point], by: Point) -> list[Point]:
    return [(x + by[0], y + by[1]) for x, y in points]
