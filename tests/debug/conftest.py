"""A finished run that the debugging tools look into."""

from pathlib import Path

import pytest
from train import tiny

from minibert.train import pretrain as pretraining
from minibert.train.pretrain import pretrain


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty steps of a tiny model with dropout, saved every ten.  Copy it before changing anything in it."""
    corpus = tiny.write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt")
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "draw_curves", lambda *arguments: None)
        assert pretrain(tiny.settings(corpus), folder, 1, tiny.quiet)
    return folder
