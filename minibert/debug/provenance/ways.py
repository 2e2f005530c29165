"""The ways to split routes: by use, by loss, by places of a value.  Each gives the routes of every part, by its key."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from minibert.backend import Array
from minibert.debug.execution import Use
from minibert.debug.provenance.coordinates import SHARED, Names
from minibert.debug.provenance.routes import Only, Route
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.ops.broadcast import unbroadcast

Routes = Sequence[Route]
Places = Mapping[Source, Names]  # the coordinates of every value
ELSEWHERE = ()  # the key of what has no such place


def by_use(routes: Routes) -> dict[Use, list[Route]]:
    """By who uses the value at the end; nothing at the loss itself."""
    parts: dict[Use, list[Route]] = defaultdict(list)
    for route in routes:
        for use, further in route.uses().items():
            parts[use].append(further)
    return parts


def by_path(routes: Routes) -> dict[Use, list[Route]]:
    """by_use at the next value that is used several times; nothing when there is none before the loss."""
    parts = by_use(routes)
    while len(parts) == 1:
        parts = by_use(next(iter(parts.values())))
    return parts


def by_loss(routes: Routes) -> dict[tuple[Source, int], list[Route]]:
    """By the terms of the sum that the loss is; a term that is added twice counts as two."""
    ends = [route.end for route in routes]
    parts: dict[tuple[Source, int], list[Route]] = defaultdict(list)
    for route in routes:
        seen: list[Source] = []
        for x, field in route.field.addends(ends):
            parts[x, seen.count(x)].append(replace(route, field=field, known=None))
            seen.append(x)
    return parts


def by_places(routes: Routes, names: tuple[str, ...], places: Places) -> dict[tuple[int, ...], list[Route]]:
    """By coordinates of the first values on the way that have these; the key of what never meets one is ELSEWHERE.

    Raises InputError when nothing meets one, or when a coordinate means something else at each of several values.
    """
    met, rest = [], []
    for route in routes:
        to_places, past_them = route.until(lambda x: _has(x, names, places))
        met += to_places
        rest += past_them
    ends = {route.end for route in met}
    own = [name for name in names if name not in SHARED]
    if not met or (own and (rest or len(ends) > 1)):
        raise InputError(_where_instead(routes, own or list(names), places))
    parts: dict[tuple[int, ...], list[Route]] = defaultdict(list)
    for route in met:
        for key, kept in slices(route, [places[route.end][name] for name in names]).items():
            parts[key] += kept
    return dict(sorted(parts.items())) | ({ELSEWHERE: rest} if rest else {})


def slices(route: Route, coordinates: Sequence[Array]) -> dict[tuple[int, ...], list[Route]]:
    """The route, cut into one for each place of the value at its end; none where nothing can arrive."""
    keys, group = grouped(coordinates)
    g, slope = route.field.at(route.end), route.slope()
    if slope is None:
        felt: dict[int, float | None] = dict.fromkeys(_felt(route, group, 0, len(keys), np.random.default_rng(0)))
    else:
        weights = unbroadcast(slope * g, group.shape)
        felt = dict(enumerate(np.bincount(group.ravel(), weights.ravel(), len(keys)).tolist()))
    return {key: [replace(route.then(Only(group, k), route.end), known=felt[k])] if k in felt else []
            for k, key in enumerate(keys)}


def grouped(coordinates: Sequence[Array]) -> tuple[list[tuple[int, ...]], Array]:
    """The different coordinates, and at every place which of them it has; of length 1 along axes that tell nothing."""
    known, places = [], []
    for c in coordinates:
        narrow = c[tuple(slice(0, 1) if step == 0 else slice(None) for step in c.strides)]
        values, number = np.unique(narrow, return_inverse=True)
        known.append(values)
        places.append(number.reshape(narrow.shape))
    lengths = [len(values) for values in known]
    flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*places)), lengths)
    present, group = np.unique(flat, return_inverse=True)
    keys = zip(*(values[i] for values, i in zip(known, np.unravel_index(present, lengths), strict=True)), strict=True)
    return [tuple(map(int, key)) for key in keys], group.reshape(flat.shape)


def _felt(route: Route, group: Array, low: int, high: int, rng: np.random.Generator) -> list[int]:
    """Those groups of low .. high - 1 that the entry depends on, found by halves.

    Most of a large batch is far from any one entry.  Numbers with random weights do not cancel to 0, so what gives 0
    consists of zeros.
    """
    dy = np.where((group >= low) & (group < high), route.field.at(route.end), 0.0)
    if not dy.any() or route.pull(dy * rng.uniform(0.5, 1.5, dy.shape)) == 0.0:
        return []
    if high - low == 1:
        return [low]
    middle = (low + high) // 2
    return _felt(route, group, low, middle, rng) + _felt(route, group, middle, high, rng)


def _has(x: Source, names: Sequence[str], places: Places) -> bool:
    return x in places and all(name in places[x] for name in names)


def _where_instead(routes: Routes, names: list[str], places: Places) -> str:
    """What to ask for, when `names` cannot be told apart here."""
    above = _between(routes)
    name = next((n for n in names if not any(_has(x, [n], places) for x in above)), names[0])
    there = dict.fromkeys(x.module or x.op.name for x in above if _has(x, [name], places))
    known = sorted({n for x in above for n in places[x]})
    if not there:
        return (f"nothing between here and the loss is told apart by {name!r}: choose one of "
                f"{', '.join(['use', 'path', 'loss', *known])}")
    first = next(iter(there))
    return (f"{name!r} means something else at each of {len(there)} places, {', '.join(list(there)[:3])}"
            f"{' ...' if len(there) > 3 else ''}: choose one with .through({first!r}).by({name!r})")


def _between(routes: Routes) -> list[Node]:
    """The nodes from the ends of some routes up to the loss, in the order of the forward pass."""
    found: dict[Source, None] = {}
    for node in routes[0].field.execution.nodes if routes else ():
        if any(node is r.end or (node in r.field.reached and any(x in found or x is r.end for x in node.inputs))
               for r in routes):
            found[node] = None
    return [x for x in found if isinstance(x, Node)]
