"""Vectors of texts are those that transformers computes from the same folder; only where PyTorch is installed."""

from pathlib import Path
from typing import Any

import pytest
from models.toys import toy_model
from train import tiny

from minibert.embed import embed
from minibert.text.tokenizer import Tokenizer

from .compare import assert_close

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["", *tiny.sentences()[:25], "bama " * 30]  # the last is longer than the model


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_vectors_are_those_of_transformers(pooling: Any, tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(tiny.sentences(), vocab_size=120)
    model = toy_model(vocab_size=tokenizer.vocab_size)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path, model.config.max_position_embeddings)
    theirs = transformers.BertModel.from_pretrained(tmp_path, dtype=torch.float64).eval()
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, truncation=True,
                                                                 return_tensors="pt")
    with torch.inference_mode():
        output = theirs(**batch)
    mask = batch["attention_mask"][:, :, None]
    expected = {"mean": (output.last_hidden_state * mask).sum(1) / mask.sum(1),
                "cls": output.last_hidden_state[:, 0], "pooler": output.pooler_output}[pooling]
    found = embed(model, tokenizer, TEXTS, pooling, watch=[].append)
    assert_close(pooling, found, expected.numpy(), 1e-9)
