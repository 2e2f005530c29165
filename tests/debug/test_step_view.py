"""A view shows the numbers it names, and never others under their name."""

from typing import Any

import numpy as np
import pytest

from minibert import InputError
from minibert.debug.stepping.view import CORNER, cut, read_view

ARRAY = np.arange(5 * 7 * 9).reshape(5, 7, 9)


@pytest.mark.parametrize(("text", "view"), [
    ("", CORNER), ("0, :4", (0, slice(None, 4))), ("-1,2:5:2", (-1, slice(2, 5, 2))),
    ("..., 1:", (..., slice(1, None))), (":", (slice(None),)), (" 3 ", (3,)), ("::-1", (slice(None, None, -1),))])
def test_text_is_read_as_python_would(text: str, view: tuple) -> None:
    assert read_view(text) == view == read_view(view)


@pytest.mark.parametrize("view", ["x", "0,,1", "1.5", "0, :, __import__('os')", (1.5,), (None,), True, (slice("a"),),
                                  (..., ...), "..., ...", "::0"])
def test_anything_else_is_refused(view: Any) -> None:
    with pytest.raises(InputError):
        read_view(view)


@pytest.mark.parametrize("view", [
    (2,), (2, slice(1, 4)), (slice(None), 3), (..., 4), (1, 2, slice(3, 8, 2)), (-1, -2), (1, 2, 3),
    (slice(3, 1, -1), 2, slice(None, None, -2)), (slice(None, None, -1), 0, 0)])
def test_a_view_is_an_index(view: tuple) -> None:
    block = cut(ARRAY, view)
    rows, whole = np.array(block.rows), ARRAY[view]
    there = ARRAY[tuple(_index(part) for part in block.place.strip("[]").split(", "))]
    assert np.array_equal(there.reshape(rows.shape), rows)
    while whole.ndim > 2:
        whole = whole[0]
    assert np.array_equal(rows, whole.reshape((1, 1, *whole.shape)[-2:])[:8, :8])


def _index(part: str) -> Any:
    return slice(*(int(end) if end else None for end in part.split(":"))) if ":" in part else int(part)


@pytest.mark.parametrize("view", [CORNER, (5,), (0, 0, 0, 0), (0, slice(7, 9)), (..., 9), (0, 0, 0, ..., 0)])
def test_the_corner_is_small_and_stands_in_for_what_does_not_fit(view: tuple) -> None:
    block = cut(ARRAY, view)
    assert block.place == "[0, 0:3, 0:6]" and np.array_equal(block.rows, ARRAY[0, :3, :6])


def test_a_place_counts_from_the_front() -> None:
    assert cut(ARRAY, (-1, -2, slice(-3, None))) == ("[4, 5, 6:9]", [ARRAY[4, 5, 6:].tolist()])


def test_odd_shapes() -> None:
    assert cut(np.array(5.0), CORNER).rows == [[5.0]] == cut(np.array(5.0), (0,)).rows
    assert cut(np.array([1, 2]), CORNER) == ("[0:2]", [[1, 2]])
    assert cut(np.zeros((3, 0)), CORNER).rows == [[], [], []]
    assert cut(ARRAY, CORNER, rows=1, columns=2).rows == [[0, 1]]
