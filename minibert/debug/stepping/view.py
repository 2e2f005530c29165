"""Which numbers of an array are shown: the slice that the reader chose where it fits, otherwise a small corner."""

import re
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError

View: TypeAlias = tuple[int | slice | EllipsisType, ...]
CORNER: View = ()
CORNER_ROWS, CORNER_COLUMNS = 3, 6  # at most
CHOSEN_ROWS, CHOSEN_COLUMNS = 8, 8
PART = re.compile(r"(-?\d+)|((?:-?\d+)?(?::(?:-?\d+)?){1,2})|(\.\.\.)")


class Block(NamedTuple):
    """A few numbers of an array: where they stand in it, such as "[0, 0:3, 0:5]", and rows of them."""

    place: str
    rows: list[list[Any]]


def read_view(view: Any) -> View:
    """What is given as text, such as "0, :4", or as what stands between the brackets in Python; nothing: a corner.

    Raises InputError for anything but whole numbers, slices and one "...".
    """
    if view is None:
        return CORNER
    if isinstance(view, str):
        return read_view(tuple(_read_part(part.strip()) for part in view.split(",")) if view.strip() else CORNER)
    parts = view if isinstance(view, tuple) else (view,)
    if not all(_is_part(part) for part in parts) or sum(part is Ellipsis for part in parts) > 1:
        raise InputError(f"a view is made of whole numbers, slices and one '...', such as '0, :4', and not {view!r}")
    return parts


def cut(array: Array, view: View, rows: int = CHOSEN_ROWS, columns: int = CHOSEN_COLUMNS) -> Block:
    """At most so many rows and columns of what the view takes; of more than two axes, the first of the others."""
    found = _places(array.shape, view) if view != CORNER else None
    if found is None:
        found = _places(array.shape, CORNER) or []
        rows, columns = min(rows, CORNER_ROWS), min(columns, CORNER_COLUMNS)
    ranges = [axis for axis, place in enumerate(found) if isinstance(place, range)]
    for axis in ranges:
        place = found[axis]
        assert isinstance(place, range)
        found[axis] = place[:columns] if axis == ranges[-1] else place[:rows] if axis in ranges[-2:] else place[0]
    lengths = [len(place) for place in found if isinstance(place, range)]
    taken = array[np.ix_(*([place] if isinstance(place, int) else place for place in found))]
    shape = (1, 1, *lengths)[-2:]
    return Block(f"[{', '.join(map(_spelled, found))}]", np.asarray(taken).reshape(shape).tolist())


def _read_part(text: str) -> Any:
    found = PART.fullmatch(text.replace(" ", ""))
    if found is None:
        raise InputError(f"cannot read {text!r} as a slice: write something like '0, :4' or '..., 2:5'")
    number, cut_text, _ = found.groups()
    if number:
        return int(number)
    return slice(*(int(end) if end else None for end in cut_text.split(":"))) if cut_text else Ellipsis


def _is_part(part: Any) -> bool:
    whole = int | np.integer
    if isinstance(part, slice):
        return part.step != 0 and all(end is None or isinstance(end, whole)
                                      for end in (part.start, part.stop, part.step))
    return part is Ellipsis or (isinstance(part, whole) and not isinstance(part, bool))


def _places(shape: Sequence[int], view: View) -> list[int | range] | None:
    """For each axis the place or places that the view takes; None where it does not fit, or takes nothing."""
    if Ellipsis in view:
        at = view.index(Ellipsis)
        before, after = view[:at], view[at + 1:]
    else:
        before, after = view, ()
    missing = len(shape) - len(before) - len(after)
    if missing < 0:
        return None
    places: list[int | range] = []
    for length, part in zip(shape, (*before, *[slice(None)] * missing, *after), strict=True):
        if isinstance(part, slice):
            place = range(length)[part]
            if not place and length:
                return None
            places.append(place)
        elif -length <= int(part) < length:  # type: ignore[arg-type]  # no Ellipsis is left
            places.append(int(part) % length)  # type: ignore[arg-type]
        else:
            return None
    return places


def _spelled(place: int | range) -> str:
    if isinstance(place, int):
        return str(place)
    step = f":{place.step}" if place.step != 1 else ""
    return f"{place.start}:{place.stop if place.stop >= 0 else ''}{step}"
