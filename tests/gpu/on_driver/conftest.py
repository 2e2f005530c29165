"""These tests run in a process of their own, whose `cupy` is the real one on the stand-in for a CUDA driver."""

import pytest

from ..driver import build, install

if reason := build.missing():
    raise pytest.UsageError(reason)
install.install()
