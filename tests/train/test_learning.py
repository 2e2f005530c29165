"""A model learns what its text has to teach, in two seconds."""

from pathlib import Path

import pytest

from minibert.fill_mask import fill_mask
from minibert.models import BertForPreTraining
from minibert.text.tokenizer import Tokenizer
from minibert.train.pretrain import Loaded, evaluate_run, pretrain
from minibert.train.run import RunFolder

from . import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("runs") / "learning")
    settings = tiny.settings(corpus, hidden=32, init_std=0.15, dropout=0.0, batch=16, micro_batch=16, steps=200,
                             lr=1e-2, warmup=10, save_every=200, eval_every=200)
    assert pretrain(settings, run.path, 2, tiny.quiet)
    return run


def test_the_held_out_loss_goes_far_below_the_entropy_of_single_pieces(run: RunFolder) -> None:
    """Each word follows from its neighbours; a model that does not look at them stays at the floor."""
    held_out = run.metrics.read()[-1]["held_out"]
    assert held_out["masked_loss"] < Loaded.read(run.path).floors().unigram - 1.0
    assert held_out["masked_accuracy"] > 0.5


def test_the_training_loss_falls(run: RunFolder) -> None:
    losses = [record["masked_loss"] for record in run.metrics.read() if "held_out" not in record]
    assert losses[-1] < 0.6 * losses[0]


def test_the_saved_model_is_the_one_that_has_learned(run: RunFolder) -> None:
    result, report = evaluate_run(run.path, 2)
    held_out = run.metrics.read()[-1]["held_out"]
    assert {name: result[name] for name in held_out} == held_out
    assert f"{held_out['masked_loss']:.3f}" in report and f"{held_out['masked_accuracy']:.1%}" in report


def test_a_gap_in_a_walk_is_filled_with_the_word_between(run: RunFolder) -> None:
    model, tokenizer = BertForPreTraining.from_pretrained(run.path), Tokenizer.load(run.path)
    right = 0
    for before, word, after in zip(tiny.NAMES, tiny.NAMES[1:], tiny.NAMES[2:], strict=False):
        [guesses] = fill_mask(model, tokenizer, f"{before} [MASK] {after}", top=3)
        assert [g.probability for g in guesses] == sorted((g.probability for g in guesses), reverse=True)
        right += guesses[0].piece == word
    assert right >= 6  # of ten; one by chance
