"""Let the live engine differentiate with another backward: a learner's, or a wrong one, to see what it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

from minibert.errors import InputError
from minibert.lab.declaring import as_tuple
from minibert.ops.registry import REGISTRY


@contextmanager
def swapped(op: str, backward: Callable[..., Any], given: tuple[str, ...] = ()) -> Iterator[None]:
    """Inside the block, forward passes record `backward` for this operation; afterwards the library's is back.

    backward: takes dy and what forward saved, or of that only what is named in `given`; it may return a single array
    instead of a tuple of one.  Raises InputError when there is no such operation.
    """
    if op not in REGISTRY:
        raise InputError(f"there is no operation {op!r}: choose one of {', '.join(sorted(REGISTRY))}")
    before = REGISTRY[op]
    REGISTRY[op] = replace(before, backward=adapted(op, backward, given))
    try:
        yield
    finally:
        REGISTRY[op] = before


def adapted(op: str, backward: Callable[..., Any], given: tuple[str, ...] = ()) -> Callable[..., tuple[Any, ...]]:
    """The function as the engine calls it."""
    names = REGISTRY[op].saved

    @wraps(REGISTRY[op].backward)
    def call(dy: Any, *saved: Any, **extra: Any) -> tuple[Any, ...]:
        by_name = dict(zip(names, saved, strict=True))
        return as_tuple(backward(dy, *(by_name[name] for name in given or names)))
    return call
