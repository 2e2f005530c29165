"""A drawing of a graph without cycles, in layers from top to bottom, so that edges run down and cross little.

    (1)  layer   the longest path from the top; what comes from nowhere stands just above its first use
    (2)  order   within a layer by the mean position of the neighbours, in sweeps down and up
    (3)  x       as near to the mean of the neighbours as the widths allow

An edge over several layers has a place of its own in each: it runs past boxes, never through one.
Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of hierarchical system structures".
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Point = tuple[float, float]
SWEEPS = 16
BETWEEN = 14.0  # boxes of one layer
GAP = 22.0  # between layers


class Edge(NamedTuple):
    """From the bottom of one box to the top of another, at these places right of their left sides."""

    source: Hashable
    target: Hashable
    source_at: float
    target_at: float


@dataclass(eq=False)
class _Place:
    """A box, or an edge on its way through a layer."""

    width: float
    height: float
    above: list[tuple["_Place", float, float]] = field(default_factory=list)  # (neighbour, its port, my port)
    below: list[tuple["_Place", float, float]] = field(default_factory=list)
    x: float = 0.0  # of the left side
    y: float = 0.0
    floor: float = 0.0  # the lower side of its layer


@dataclass
class Layout:
    """Where the boxes are, by the upper left corner, and through which points each edge runs, in the given order."""

    width: float
    height: float
    corners: dict[Hashable, Point]
    routes: list[list[Point]]


def layout(sizes: Mapping[Hashable, tuple[float, float]], edges: Sequence[Edge], top: Iterable[Hashable] = (),
           bottom: Iterable[Hashable] = (), gap: float = GAP) -> Layout:
    """Places for boxes of these sizes.  top, bottom: those that must be in the first and in the last layer."""
    depth = _depths(sizes, edges, set(top), set(bottom))
    layers: list[list[_Place]] = [[] for _ in range(max(depth.values()) + 1)]
    places = {key: _Place(*size) for key, size in sizes.items()}
    for key, place in places.items():
        layers[depth[key]].append(place)
    chains = [_chain(edge, places, depth, layers) for edge in edges]
    _order(layers)
    _set_x(layers)
    _set_y(layers, gap)
    corners = {key: (place.x, place.y) for key, place in places.items()}
    width = max(place.x + place.width for layer in layers for place in layer)
    return Layout(width, layers[-1][0].floor, corners,
                  [_route(edge, chain) for edge, chain in zip(edges, chains, strict=True)])


def _depths(sizes: Mapping[Hashable, tuple[float, float]], edges: Sequence[Edge], top: set[Hashable],
            bottom: set[Hashable]) -> dict[Hashable, int]:
    """(1)"""
    sources: dict[Hashable, list[Hashable]] = {key: [] for key in sizes}
    targets: dict[Hashable, list[Hashable]] = {key: [] for key in sizes}
    for edge in edges:
        sources[edge.target].append(edge.source)
        targets[edge.source].append(edge.target)
    depth = dict.fromkeys(sizes, 0)
    left = {key: len(found) for key, found in sources.items()}
    ready = [key for key, count in left.items() if not count]
    first = 1 if top else 0
    for key in ready:  # which grows as it is read
        depth[key] = max([depth[x] + 1 for x in sources[key]], default=0 if key in top else first)
        for x in targets[key]:
            left[x] -= 1
            if not left[x]:
                ready.append(x)
    for key in sizes:
        if not sources[key] and key not in top and targets[key]:
            depth[key] = min(depth[x] for x in targets[key]) - 1
    lowest = max([depth[key] for key in sizes if key not in bottom], default=-1) + 1
    return depth | dict.fromkeys(bottom, lowest)


def _chain(edge: Edge, places: Mapping[Hashable, _Place], depth: Mapping[Hashable, int],
           layers: list[list[_Place]]) -> list[_Place]:
    """The places of an edge, from its source to its target; those between are new."""
    between = [_Place(0.0, 0.0) for _ in range(depth[edge.source] + 1, depth[edge.target])]
    for i, place in enumerate(between):
        layers[depth[edge.source] + 1 + i].append(place)
    chain = [places[edge.source], *between, places[edge.target]]
    for i, (upper, lower) in enumerate(pairwise(chain)):
        upper_at = edge.source_at if i == 0 else 0.0
        lower_at = edge.target_at if i == len(chain) - 2 else 0.0
        upper.below.append((lower, lower_at, upper_at))
        lower.above.append((upper, upper_at, lower_at))
    return chain


def _order(layers: list[list[_Place]]) -> None:
    """(2): the order with the fewest crossings that the sweeps find, from the order given and from its mirror image."""
    best, fewest = [list(layer) for layer in layers], float("inf")
    for start in ([list(layer) for layer in layers], [layer[::-1] for layer in layers]):
        for sweep in range(SWEEPS):
            for layer in start:
                _pack(layer)
            crossings = sum(map(_crossings, start))
            if crossings < fewest:
                best, fewest = [list(layer) for layer in start], crossings
            down = sweep % 2 == 0
            for layer in start if down else start[::-1]:
                layer.sort(key=lambda place: _mean(place, place.above if down else place.below))
                _pack(layer)
    layers[:] = best


def _mean(place: _Place, neighbours: list[tuple[_Place, float, float]]) -> float:
    """The mean of where the edges of these neighbours come from."""
    if not neighbours:
        return place.x + place.width / 2
    return sum(other.x + there for other, there, _ in neighbours) / len(neighbours)


def _wish(place: _Place) -> float:
    """The left side that would put a box straight under and over its neighbours, port to port, on the mean."""
    neighbours = place.above + place.below
    if not neighbours:
        return place.x
    weights = [_pull(place, other) for other, _, _ in neighbours]
    wishes = [other.x + there - here for other, there, here in neighbours]
    return sum(weight * wish for weight, wish in zip(weights, wishes, strict=True)) / sum(weights)


def _pull(place: _Place, other: _Place) -> float:
    """How strongly two neighbours want to be straight below each other: long edges are to be straight first of all."""
    return (1.0, 2.0, 8.0)[(place.width == 0.0) + (other.width == 0.0)]


def _crossings(layer: list[_Place]) -> int:
    ends = [(upper.x + there, place.x + here) for place in layer for upper, there, here in place.above]
    return sum((a[0] - b[0]) * (a[1] - b[1]) < 0.0 for i, a in enumerate(ends) for b in ends[:i])


def _pack(layer: list[_Place]) -> None:
    """Side by side, centred on 0."""
    x = -sum(place.width + BETWEEN for place in layer) / 2
    for place in layer:
        place.x = x
        x += place.width + BETWEEN


def _set_x(layers: list[list[_Place]]) -> None:
    """(3), and the leftmost box at 0."""
    for layer in layers:
        _pack(layer)
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            _settle(layer, [_wish(place) for place in layer])
    left = min(place.x for layer in layers for place in layer)
    for layer in layers:
        for place in layer:
            place.x -= left


def _settle(layer: list[_Place], wishes: list[float]) -> None:
    """The places nearest to the wishes, in squares, that keep order and distance: pool adjacent violators."""
    offset, offsets = 0.0, []
    pools: list[tuple[float, float, int]] = []  # mean wish, weight, how many places
    for place, wish in zip(layer, wishes, strict=True):
        offsets.append(offset)
        weight = sum(_pull(place, other) for other, _, _ in place.above + place.below) or 1.0
        pools.append((wish - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            last, weight, count = pools.pop()
            mean, before, more = pools.pop()
            pools.append(((mean * before + last * weight) / (before + weight), before + weight, count + more))
        offset += place.width + BETWEEN
    settled = [mean for mean, _, count in pools for _ in range(count)]
    for place, x, offset in zip(layer, settled, offsets, strict=True):
        place.x = x + offset


def _set_y(layers: list[list[_Place]], gap: float) -> None:
    y = 0.0
    for layer in layers:
        floor = y + max(place.height for place in layer)
        for place in layer:
            place.y, place.floor = y, floor
        y = floor + gap


def _route(edge: Edge, chain: list[_Place]) -> list[Point]:
    """From the bottom of the source to the top of the target, straight down through each layer between."""
    source, *between, target = chain
    x = source.x + edge.source_at
    points = [(x, source.y + source.height), (x, source.floor)]
    points += [(place.x, y) for place in between for y in (place.y, place.floor)]
    return [*points, (target.x + edge.target_at, target.y)]
