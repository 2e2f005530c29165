"""Memory that is freed stays with the process, where malloc can be told so."""

import ctypes
import sys

import pytest

from minibert.train.memory import reuse_freed_memory


def test_gnu_malloc_is_told() -> None:
    known = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    reuse_freed_memory.cache_clear()
    assert reuse_freed_memory() is known


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_elsewhere_nothing_is_done(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", None)  # calling it would fail
    assert not reuse_freed_memory.__wrapped__()
