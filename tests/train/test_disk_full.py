"""A disk that fills up costs one sentence, and never the last save."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.train.pretrain import resume

from . import tiny
from .process import interrupt_after, outcome, victim

Copy = Callable[[Path], Path]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """A run that was stopped after step 13."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("runs") / "stopped"))
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after([13], patch)
        assert not resume(folder, 1, tiny.quiet)
    return folder


@pytest.fixture
def halfway(stopped: Path, copy: Copy) -> Path:
    return copy(stopped)


@pytest.mark.parametrize(("file", "share"), [("metrics.jsonl", 0.5), (tiny.MODEL, 0.5), (tiny.STATE, 0.5),
                                             (tiny.STATE, 0.999)])
def test_a_full_disk_is_one_sentence_and_leaves_a_run_that_can_go_on(
        file: str, share: float, halfway: Path, finished: Path) -> None:
    """The operating system itself refuses to let files grow beyond a share of this one."""
    before = tiny.contents(halfway)
    most = int(share * (halfway / file).stat().st_size)
    code, _, errors = outcome(victim("limit", halfway, most))
    assert code == 1
    last = errors.splitlines()[-1]
    assert last == f"minibert: cannot write {halfway / file}: File too large; what was there before is unchanged"
    assert (halfway / tiny.STATE).read_bytes() == before[tiny.STATE]
    assert not list(halfway.glob(".*"))  # no half of a file is left to fill the disk
    assert resume(halfway, 2, tiny.quiet)
    assert tiny.contents(halfway) == tiny.contents(finished)


def test_a_log_that_cannot_grow_stops_the_run_before_anything_else_is_lost(
        halfway: Path, finished: Path) -> None:
    before = tiny.contents(halfway)
    most = (halfway / "metrics.jsonl").stat().st_size + 40  # a part of the next record
    code, _, errors = outcome(victim("limit", halfway, most))
    assert code == 1
    assert errors.splitlines()[-1] == f"minibert: cannot write {halfway / 'metrics.jsonl'}: File too large"
    assert tiny.contents(halfway) == before
    assert resume(halfway, 2, tiny.quiet)
    assert tiny.contents(halfway) == tiny.contents(finished)
