"""Settings: every impossible value is refused by the name of its flag, and a run folder brings them back."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from minibert.errors import InputError
from minibert.models.config import PRESETS
from minibert.train.settings import PretrainSettings

AT_LEAST_1 = ("vocab_size", "layers", "hidden", "heads", "width", "steps", "batch", "micro_batch", "eval_every",
              "save_every")
SHARE, FRACTION, POSITIVE = "above 0 and below 1", "at least 0 and below 1", "a number above 0"
REFUSED: list[tuple[str, Any, str]] = [
    *((name, value, "at least 1") for name in AT_LEAST_1 for value in (0, -3)),
    *((name, value, SHARE) for name in ("held_out", "mask_rate") for value in (0.0, 1.0, -0.1, math.nan)),
    *((name, value, FRACTION) for name in ("dropout", "beta1", "beta2") for value in (-0.1, 1.0, math.nan)),
    *((name, value, POSITIVE) for name in ("lr", "eps", "init_std") for value in (0.0, -1.0, math.nan, math.inf)),
    *(("weight_decay", value, "a number of at least 0") for value in (-0.01, math.nan, math.inf)),
    *(("short_pairs", value, "between 0 and 1") for value in (-0.1, 1.1, math.nan)),
    *(("clip", value, "above 0") for value in (0.0, -1.0, math.nan)),
    *(("spike", value, "0, or a number above 1") for value in (-1.0, 0.5, 1.0, math.nan, math.inf)),
    *(("seed", value, "at least 0 and below 2**64") for value in (-1, 2**64)),
    ("warmup", -1, "at least 0 and below --steps"),
    ("warmup", 10**6, "at least 0 and below --steps"),
    ("length", 7, "at least 8"),
    ("corpus", "book.txt", "a list of file names"),
    ("corpus", (3,), "a list of file names"),
    ("corpus", None, "a list of file names"),
    ("steps", "many", "a whole number"),
    ("steps", 40.0, "a whole number"),
    ("steps", True, "a whole number"),
    ("layers", 1.5, "a whole number"),
    ("lr", "fast", "a number"),
    ("eps", None, "a number"),
    ("cased", 1, "True or False"),
    ("preset", 3, "a name"),
    ("preset", "huge", "one of tiny, mini, small, base"),
    ("blank_lines", "page", "one of document, paragraph"),
    ("activation", "swish", "one of gelu, gelu_new, relu, tanh"),
    ("positions", "rotary", "one of absolute, sinusoidal"),
    ("norm", "none", "one of post, pre"),
    ("start", "warm", "one of counts, random"),
    ("precision", "float16", "one of float32, tf32, bfloat16"),
]


@pytest.mark.parametrize(("name", "value", "what"), REFUSED)
def test_an_impossible_value_is_refused_by_the_name_of_its_flag(name: str, value: Any, what: str) -> None:
    with pytest.raises(InputError) as caught:
        PretrainSettings(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"--{name.replace('_', '-')} must be {what}")
    assert message.endswith(f", not {value!r}") and "\n" not in message


def test_the_edges_of_what_is_possible_are_accepted() -> None:
    settings = PretrainSettings(layers=1, hidden=1, heads=1, width=1, steps=1, warmup=0, length=8, dropout=0.0,
                                beta1=0.0, weight_decay=0, short_pairs=1, clip=math.inf, seed=2**64 - 1, lr=1)
    assert settings.model_config(100).intermediate_size == 1


def test_the_learning_rate_follows_the_width_unless_it_is_given() -> None:
    assert PretrainSettings().peak_lr(PretrainSettings().model_config(100)) == pytest.approx(0.0025)
    wide = PretrainSettings(preset="base")
    assert wide.peak_lr(wide.model_config(100)) == pytest.approx(0.32 / 768)
    assert PretrainSettings(lr=0.5).peak_lr(wide.model_config(100)) == 0.5


def test_every_setting_was_tried_with_a_bad_value() -> None:
    switches = {"numpy_docs", "whole_word", "bias_correction", "recompute"}  # like cased
    assert {f.name for f in fields(PretrainSettings)} - switches == {name for name, _, _ in REFUSED}


def test_settings_come_back_from_their_file(tmp_path: Path) -> None:
    settings = PretrainSettings(corpus=("a.txt", "b.txt"), cased=True, layers=3, lr=3e-4, blank_lines="paragraph")
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings.to_dict()), encoding="utf-8")
    assert PretrainSettings.from_file(path) == settings


@pytest.mark.parametrize(("change", "message"), [
    ({"steps": "many"}, "--steps must be a whole number, not 'many'"),
    ({"batch": 6.0}, "--batch must be a whole number, not 6.0"),
    ({"corpus": None}, "--corpus must be a list of file names, not None"),
    ({"start": "warm"}, "--start must be one of counts, random, not 'warm'"),
    ({"momentum": 0.9, "nesterov": True}, "does not know, or lacks some of its own (momentum, nesterov): another"),
])
def test_a_file_with_other_settings_is_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(PretrainSettings().to_dict() | change), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        PretrainSettings.from_file(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_a_file_that_lacks_a_setting_is_refused_because_a_default_may_have_changed(tmp_path: Path) -> None:
    values = PretrainSettings().to_dict()
    del values["beta2"]
    (tmp_path / "settings.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"lacks some of its own \(beta2\)"):
        PretrainSettings.from_file(tmp_path / "settings.json")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_published_shape(preset: str) -> None:
    config = PretrainSettings(preset=preset, length=32).model_config(1000)
    layers, hidden, heads = PRESETS[preset]
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (layers, hidden, heads)
    assert (config.intermediate_size, config.vocab_size, config.max_position_embeddings) == (4 * hidden, 1000, 32)


def test_the_flags_override_a_preset_and_reach_the_model() -> None:
    settings = PretrainSettings(preset="mini", layers=1, hidden=12, heads=3, dropout=0.2, init_std=0.03, norm="pre",
                                activation="relu", positions="sinusoidal")
    config = settings.model_config(50)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (1, 12, 3)
    assert config.intermediate_size == 48  # four times the width that was asked for, not the preset's
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.2
    assert (config.initializer_range, config.norm_position) == (0.03, "pre")
    assert (config.hidden_act, config.position_embedding_type) == ("relu", "sinusoidal")
    assert PretrainSettings(width=7).model_config(50).intermediate_size == 7


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(InputError, match="hidden_size 16 is not divisible by num_attention_heads 3"):
        PretrainSettings(hidden=16, heads=3).model_config(50)
