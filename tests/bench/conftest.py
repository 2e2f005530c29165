"""What the tests of the benchmark share: one measurement, and workers that go wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.bench.contenders import Contender
from minibert.bench.measurement import Measurement
from minibert.bench.rounds import measure
from minibert.bench.shape import Shape

TINY = Shape(1, 16, 2, 50, 4, 8)
WORKERS = {
    "crashes_at_once": "raise RuntimeError('no such luck')",
    "ends_in_silence": "raise SystemExit(3)",
    "hangs": "import time; time.sleep(600)",
    "is_killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "talks": "from minibert.bench.served import Served, serve\n"
             "def step():\n    print('computing', flush=True)\n    return 1.5\n"
             "print('hello', flush=True)\nserve(lambda arguments: Served(step, {'version': '1', **arguments}))",
    "crashes_later": "from minibert.bench.served import Served, serve\n"
                     "left = [4]\n"
                     "def step():\n    left[0] -= 1\n    return 1 / left[0]\n"
                     "serve(lambda arguments: Served(step, {'version': '1'}))",
}


@pytest.fixture(scope="session")
def measurement() -> Measurement:
    """Two steps of minibert alone."""
    return measure(TINY, 2, {"micro_batch": 3}, 2, 60.0, peers=())


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Contender]:
    """A contender whose worker is one of WORKERS."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def contender(name: str) -> Contender:
        (tmp_path / f"{name}.py").write_text(WORKERS[name], encoding="utf-8")
        return Contender(name, name)

    return contender
