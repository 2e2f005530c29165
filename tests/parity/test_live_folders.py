"""Model folders go to transformers and come back; only where PyTorch is installed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minibert

from .compare import assert_close

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from . import reference  # noqa: E402 (only where it can be imported)

CONFIG = {"vocab_size": 31, "hidden_size": 15, "num_hidden_layers": 2, "num_attention_heads": 5,
          "intermediate_size": 11, "max_position_embeddings": 9, "type_vocab_size": 2, "hidden_act": "gelu_new",
          "layer_norm_eps": 1e-5, "pad_token_id": 3}
LOGITS = ("prediction_logits", "seq_relationship_logits")
BATCH = {name: array for name, array in reference.random_batch(CONFIG, 3, 8, seed=5).items()
         if name in ("input_ids", "token_type_ids", "attention_mask")}
tied_and_untied = pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])


def randomised(model: minibert.BertForPreTraining, seed: int) -> minibert.BertForPreTraining:
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.assign(0.4 * rng.standard_normal(p.shape))
    return model.eval()


def load_theirs(kind: Any, folder: Path) -> Any:
    """Load with transformers, in float64, and require that every weight was there and none was left over."""
    model, info = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float64,
                                       attn_implementation="eager")
    assert not any(info.values()), info
    return model.eval()


def assert_same_logits(mine: minibert.BertForPreTraining, theirs: Any) -> None:
    expected, output = reference.run(theirs, BATCH), mine(**BATCH)
    for name in LOGITS:
        assert_close(name, getattr(output, name).data, getattr(expected, name).detach().numpy(), 1e-9)


@tied_and_untied
def test_transformers_loads_what_minibert_saved(tmp_path: Path, tie: bool) -> None:
    config = minibert.BertConfig(**CONFIG, tie_word_embeddings=tie)
    mine = randomised(minibert.BertForPreTraining(config, dtype=np.float64), seed=1)
    mine.save_pretrained(tmp_path)
    theirs = load_theirs(transformers.BertForPreTraining, tmp_path)
    assert_same_logits(mine, theirs)
    assert theirs.config.tie_word_embeddings == tie and theirs.config.pad_token_id == 3
    assert type(transformers.AutoModelForPreTraining.from_pretrained(tmp_path)) is transformers.BertForPreTraining


@tied_and_untied
def test_minibert_loads_what_transformers_saved(tmp_path: Path, tie: bool) -> None:
    """Where untied, transformers keeps two biases of the decoder and uses only one; here they differ."""
    theirs = reference.random_model({**CONFIG, "tie_word_embeddings": tie}, seed=2)
    theirs.save_pretrained(tmp_path)
    mine = minibert.BertForPreTraining.from_pretrained(tmp_path, np.float64)
    assert_same_logits(mine, theirs)
    assert not mine.training


@tied_and_untied
def test_a_folder_goes_there_and_back_without_a_change(tmp_path: Path, tie: bool) -> None:
    config = minibert.BertConfig(**CONFIG, tie_word_embeddings=tie)
    mine = randomised(minibert.BertForPreTraining(config, dtype=np.float64), seed=3)
    mine.save_pretrained(tmp_path / "mine")
    load_theirs(transformers.BertForPreTraining, tmp_path / "mine").save_pretrained(tmp_path / "theirs")
    back = minibert.BertForPreTraining.from_pretrained(tmp_path / "theirs", np.float64)
    assert back.config == mine.config
    for (name, p), q in zip(mine.named_parameters(), back.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data, err_msg=name)


@tied_and_untied
def test_a_bare_encoder_from_a_folder_with_heads(tmp_path: Path, tie: bool) -> None:
    theirs = reference.random_model({**CONFIG, "tie_word_embeddings": tie}, seed=4)
    theirs.save_pretrained(tmp_path)
    mine = minibert.BertModel.from_pretrained(tmp_path, np.float64)
    expected = reference.run(theirs.bert, BATCH)
    assert_close("pooled", mine(**BATCH).pooler_output.data, expected.pooler_output.detach().numpy(), 1e-9)


def test_bare_encoders_both_ways(tmp_path: Path) -> None:
    theirs = reference.random_model(CONFIG, seed=5).bert
    theirs.save_pretrained(tmp_path / "theirs")
    mine = minibert.BertModel.from_pretrained(tmp_path / "theirs", np.float64)
    mine.save_pretrained(tmp_path / "mine")
    for model in (theirs, load_theirs(transformers.BertModel, tmp_path / "mine")):
        expected = reference.run(model, BATCH).last_hidden_state.detach().numpy()
        assert_close("last_hidden_state", mine(**BATCH).last_hidden_state.data, expected, 1e-9)


def test_a_classifiers_folder_lends_its_encoder(tmp_path: Path) -> None:
    settings = transformers.BertConfig(**CONFIG, num_labels=3, attn_implementation="eager")
    theirs = transformers.BertForSequenceClassification(settings).double().eval()
    theirs.save_pretrained(tmp_path)
    mine = minibert.BertModel.from_pretrained(tmp_path, np.float64)
    expected = reference.run(theirs.bert, BATCH).pooler_output.detach().numpy()
    assert_close("pooled", mine(**BATCH).pooler_output.data, expected, 1e-9)


def test_every_field_that_transformers_writes_is_accepted(tmp_path: Path) -> None:
    """Also those it writes only when they differ from its defaults."""
    transformers.BertConfig(**CONFIG, num_labels=4, problem_type="regression", classifier_dropout=0.2,
                            bos_token_id=1, eos_token_id=2, use_cache=False, dtype="float64", name_or_path="somewhere",
                            chunk_size_feed_forward=1).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    mine = minibert.BertConfig.from_pretrained(tmp_path)
    assert len(written) > len(CONFIG) and {name: getattr(mine, name) for name in CONFIG} == CONFIG


def test_half_precision_weights_are_read(tmp_path: Path) -> None:
    theirs = reference.random_model(CONFIG, seed=6).half()
    theirs.save_pretrained(tmp_path)
    assert_same_logits(minibert.BertForPreTraining.from_pretrained(tmp_path, np.float64), theirs.double())


def test_brain_floats_are_refused_with_advice(tmp_path: Path) -> None:
    reference.random_model(CONFIG, seed=7).bfloat16().save_pretrained(tmp_path)
    with pytest.raises(minibert.InputError, match=r"NumPy lacks.*save it as float32"):
        minibert.BertForPreTraining.from_pretrained(tmp_path)
