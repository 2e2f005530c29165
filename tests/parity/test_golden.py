"""minibert computes what Hugging Face's BERT and PyTorch's AdamW computed once; see tests/golden/make_golden.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from .compare import Arrays, assert_all_close, build, outputs_and_gradients, select, strip, train

FILES = sorted(Path(__file__).parents[1].glob("golden/*.safetensors"))


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def golden(request: pytest.FixtureRequest) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a golden file; and its metadata, decoded."""
    with safe_open(request.param, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return arrays, {name: json.loads(file.metadata()[name]) for name in ("config", "training")}


def test_both_golden_files_are_there_and_small() -> None:
    assert [path.stem for path in FILES] == ["bert_for_pretraining", "bert_gelu_new"]
    assert all(path.stat().st_size < 150_000 for path in FILES)


def test_golden_weights_hide_nothing(golden: tuple[Arrays, dict[str, Any]]) -> None:
    """No bias is 0 and no gain is 1 anywhere, and there are padding, ignored labels, and both classes of pairs."""
    arrays, _ = golden
    for name, weight in strip(arrays, "weight/").items():
        assert (np.abs(weight - name.endswith("LayerNorm.weight")) > 0.0).all(), name
    assert {0, 1} == set(arrays["input/attention_mask"].flat) == set(arrays["input/next_sentence_label"].flat)
    assert (arrays["input/labels"] == -100).any()
    assert arrays["trained/losses"][-1] < arrays["trained/losses"][0]


def test_float64_logits_losses_and_gradients(golden: tuple[Arrays, dict[str, Any]]) -> None:
    arrays, about = golden
    model = build(about["config"], strip(arrays, "weight/"))
    assert_all_close(outputs_and_gradients(model, strip(arrays, "input/")), select(arrays, "out/", "grad/"), 1e-9)


def test_float32_logits_losses_and_gradients(golden: tuple[Arrays, dict[str, Any]]) -> None:
    arrays, about = golden
    model = build(about["config"], strip(arrays, "weight/"), np.float32)
    mine = outputs_and_gradients(model, strip(arrays, "input/"))
    assert {array.dtype for array in mine.values()} == {np.dtype(np.float32)}
    assert_all_close(select(mine, "out/"), select(arrays, "out/"), 1e-5)
    assert_all_close(select(mine, "grad/"), select(arrays, "grad/"), 1e-4)


def test_ten_steps_of_adamw_with_warmup_and_clipping(golden: tuple[Arrays, dict[str, Any]]) -> None:
    arrays, about = golden
    model = build(about["config"], strip(arrays, "weight/"))
    mine = train(model, strip(arrays, "input/"), about["training"])
    assert_all_close(mine, select(arrays, "trained/"), 1e-9)
