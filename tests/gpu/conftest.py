"""A device to test on."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from debug.conftest import run  # noqa: F401

from minibert.ops import registry

from . import strict_cupy

collect_ignore = ["on_driver"]  # needs a process of its own: test_on_driver.py starts it


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`cupy` is the strict stand-in, which has no kernels; its counters begin at 0."""
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    for thread in (registry.preference, registry.Preference):  # this one, and every new one
        monkeypatch.setattr(thread, "twins", False)
    strict_cupy.events.clear()
    yield strict_cupy
