"""What the tests of training share: a corpus, a run that is prepared but not begun, and one that was never stopped."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minibert.train import pretrain as pretraining
from minibert.train.pretrain import pretrain, resume

from . import tiny


@pytest.fixture(scope="session", autouse=True)
def without_curves() -> Iterator[None]:
    """Drawing takes longer than training here; it has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "draw_curves", lambda *arguments: None)
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A run folder with settings, vocabulary and text, and no step trained."""
    folder = tmp_path_factory.mktemp("runs") / "prepared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "_train", lambda loaded, threads, say, device: True)
        pretrain(tiny.settings(corpus), folder, 1, tiny.quiet)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """The prepared run, trained to its end on one thread without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    shutil.copytree(prepared, folder)
    assert resume(folder, 1, tiny.quiet)
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Make a copy of a run folder that the test may spoil."""

    def make(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"run-{len(list(tmp_path.iterdir()))}"))

    return make
