"""Runs the tests of on_driver/, each file in a process of its own, whose `cupy` is the real one on a stand-in driver.

A process that has imported CuPy cannot change its driver any more, and this one may have a GPU to test on.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .driver import build

FOLDER = Path(__file__).with_name("on_driver")
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("test_*.py")))
def test_on_the_driver(name: str) -> None:
    command = [sys.executable, "-m", "pytest", str(FOLDER / name), "-p", "no:cacheprovider", "--tb=short"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode == 0 and name == "test_nvrtc.py" and "skipped" in done.stdout:
        pytest.skip("NVIDIA's compiler is not installed: pip install 'nvidia-cuda-nvrtc==13.0.*'")
    assert done.returncode == 0 and "skipped" not in done.stdout, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize(("tool", "found", "reason"), [
    ("g++", "14.2.0", "needs g\\+\\+"), ("nm", "14.2.0", "needs nm"), ("", None, "needs CuPy: pip install"),
    ("", "13.6.0", "fits cupy-cuda13x 14.2 only, and 13.6.0 is installed")])
def test_what_is_missing_is_named(tool: str, found: str | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if found is None:
            raise build.PackageNotFoundError(name)
        return found
    monkeypatch.setattr(build, "version", version)
    monkeypatch.setattr(build.shutil, "which", lambda name: None if name == tool else f"/bin/{name}")
    assert re.search(reason, build.missing() or "nothing")
