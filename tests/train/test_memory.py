"""Memory that is freed stays with the process, where malloc can be told so."""

import ctypes
import re
import sys
from pathlib import Path

import pytest

from minibert.train import memory
from minibert.train.memory import reuse_freed_memory

HEADER = Path("/usr/include/malloc.h")


def test_gnu_malloc_is_told() -> None:
    known = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    reuse_freed_memory.cache_clear()
    assert reuse_freed_memory() is known


@pytest.mark.skipif(not HEADER.exists(), reason="malloc.h is not installed")
def test_the_numbers_are_those_of_malloc_h() -> None:
    defined = dict(re.findall(r"^#\s*define\s+(M_\w+)\s+(-?\d+)", HEADER.read_text(encoding="utf-8"), re.MULTILINE))
    for name in ("M_TRIM_THRESHOLD", "M_TOP_PAD", "M_MMAP_THRESHOLD"):
        assert getattr(memory, name) == int(defined[name]), name


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_elsewhere_nothing_is_done(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", None)  # calling it would fail
    assert not reuse_freed_memory.__wrapped__()
