"""The training loop makes the updates that its settings describe."""

import json
from pathlib import Path

import numpy as np
import pytest

from minibert.interop.safetensors import read_arrays
from minibert.models import BertForPreTraining, bert
from minibert.text.batches import PretrainingBatches
from minibert.train.pretrain import Loaded, pretrain

from . import tiny

COMMON = {"start": "random", "dropout": 0.0, "steps": 2, "warmup": 0, "lr": 0.01, "clip": 0.5}
OTHERS = {"beta1": 0.5, "beta2": 0.7, "eps": 1e-3, "weight_decay": 0.3}


@pytest.mark.parametrize("changes", [{"bias_correction": True, **OTHERS}, {"bias_correction": False}, {"clip": 100.0},
                                     {"seed": 5}])
def test_two_steps_of_a_run_are_those_of_the_formulas(changes: dict[str, float], corpus: Path, tmp_path: Path) -> None:
    """AdamW, clipping and the schedule written out in float64, on the gradients of whole batches."""
    s = tiny.settings(corpus, **(COMMON | changes))
    pretrain(s, tmp_path, 2, tiny.quiet)
    loaded = Loaded.read(tmp_path)
    model = BertForPreTraining(s.model_config(loaded.tokenizer.vocab_size), seed=s.seed)
    batches = PretrainingBatches(loaded.corpus.train, loaded.tokenizer, s.batch, s.length, s.seed, s.mask_rate)
    parameters = dict(model.named_parameters())
    w = {name: p.data.astype(np.float64) for name, p in parameters.items()}
    m = {name: np.zeros(p.shape) for name, p in parameters.items()}
    v = {name: np.zeros(p.shape) for name, p in parameters.items()}
    for t, lr in ((1, s.lr * 2 / 3), (2, s.lr * 1 / 3)):  # a line that reaches 0 one step after the last
        model.zero_grad()
        model(**batches.batch(t - 1)).loss.backward()
        norm = np.sqrt(sum((p.grad.astype(np.float64)**2).sum() for p in parameters.values()))
        assert (norm > s.clip) == (s.clip < 100.0)
        for name, p in parameters.items():
            g = p.grad * min(1.0, s.clip / norm)
            m[name] = s.beta1 * m[name] + (1 - s.beta1) * g
            v[name] = s.beta2 * v[name] + (1 - s.beta2) * g**2
            first, second = (1 - s.beta1**t, 1 - s.beta2**t) if s.bias_correction else (1.0, 1.0)
            decay = s.weight_decay if p.ndim == 2 else 0.0
            w[name] -= lr * (m[name] / first / (np.sqrt(v[name] / second) + s.eps) + decay * w[name])
            p.data[...] = w[name]
    state, _ = read_arrays(tmp_path / tiny.STATE, "")
    assert int(state["step"]) == 2
    for part, expected in (("m", m), ("v", v)):
        for name, array in expected.items():
            np.testing.assert_allclose(state[f"{part}.{name}"], array, rtol=2e-3, atol=1e-7, err_msg=f"{part} {name}")
    moved = np.concatenate([(state[f"weight.{name}"] - w[name]).ravel() for name in w])
    assert np.median(np.abs(moved)) < 1e-6 and np.quantile(np.abs(moved), 0.99) < 1e-4


def test_recomputation_is_a_setting_of_a_run_and_changes_no_bit(corpus: Path, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    twice, recompute, models = [], bert.recompute, []
    monkeypatch.setattr(bert, "recompute", lambda *args: twice.append(args) or recompute(*args))
    for name, on in (("once", False), ("twice", True)):
        pretrain(tiny.settings(corpus, steps=2, warmup=0, dropout=0.1, recompute=on), tmp_path / name, 2, tiny.quiet)
        assert bool(twice) is on and Loaded.read(tmp_path / name).settings.recompute is on
        models.append((tmp_path / name / tiny.MODEL).read_bytes())
    assert models[0] == models[1]


def test_a_run_keeps_the_micro_batch_that_it_chose(corpus: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine would choose another one, and round otherwise."""
    monkeypatch.setattr("minibert.train.pretrain.choose_micro_batch", lambda config, batch, length: 3)
    pretrain(tiny.settings(corpus, steps=1, warmup=0, micro_batch=None), tmp_path, 1, tiny.quiet)
    assert json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))["micro_batch"] == 3
