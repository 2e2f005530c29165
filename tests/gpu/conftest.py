"""A device to test on."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from . import strict_cupy


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`cupy` is the strict stand-in; its counters begin at 0."""
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    strict_cupy.events.clear()
    yield strict_cupy
