"""A model small enough to be evaluated hundreds of times, with nothing in it that hides a mistake."""

from typing import Any

import numpy as np

from minibert import BertConfig, BertForPreTraining
from minibert.models import PreTrainingOutput
from minibert.ops.loss import IGNORE_INDEX

Batch = dict[str, np.ndarray]
SHAPE = {  # odd and distinct sizes; dropout that shows
    "vocab_size": 37, "hidden_size": 15, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 19,
    "max_position_embeddings": 17, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
LENGTHS = (11, 7, 9, 4, 11, 1, 6)


def toy_config(**overrides: Any) -> BertConfig:
    return BertConfig(**(SHAPE | overrides))


def toy_model(seed: int = 0, **overrides: Any) -> BertForPreTraining:
    """In float64, not training, with random gains and biases, so that no 1 or 0 stands in for them."""
    model = BertForPreTraining(toy_config(**overrides), dtype=np.float64).eval()
    rng = np.random.default_rng(seed)
    for name, p in model.named_parameters():
        p.assign(0.3 * rng.standard_normal(p.shape) + name.endswith("LayerNorm.weight"))
    return model


def toy_batch(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> Batch:
    """Text of these lengths with padding after it; two words a row are labelled, or one where there is but one."""
    rng = np.random.default_rng(seed)
    rows, T = len(lengths), max(lengths)
    mask = (np.arange(T) < np.array(lengths)[:, None]).astype(np.int64)
    labels = np.full((rows, T), IGNORE_INDEX)
    for row, length in enumerate(lengths):
        where = rng.choice(length, min(2, length), replace=False)
        labels[row, where] = rng.integers(0, SHAPE["vocab_size"], where.size)
    return {"input_ids": rng.integers(1, SHAPE["vocab_size"], (rows, T)) * mask, "attention_mask": mask,
            "token_type_ids": rng.integers(0, 2, (rows, T)), "labels": labels,
            "next_sentence_label": np.arange(rows) % 2}


def only_text(batch: Batch) -> Batch:
    """The batch without its labels."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}


def take(batch: Batch, rows: Any) -> Batch:
    return {name: array[rows] for name, array in batch.items()}


def gradients(model: BertForPreTraining) -> dict[str, np.ndarray]:
    """The gradient of every parameter, which the model forgets."""
    found = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    return found


def learn(model: BertForPreTraining, batch: Batch, **options: Any) -> tuple[PreTrainingOutput, dict[str, np.ndarray]]:
    """One forward and one backward pass: the output and the gradients."""
    output = model(**batch, **options)
    output.loss.backward()
    return output, gradients(model)


def assert_same(mine: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float = 1e-11) -> None:
    """Equal but for rounding, measured against each tensor's largest number (or against 1, where all are tiny)."""
    assert mine.keys() == other.keys()
    for name, array in mine.items():
        largest = max(np.abs(other[name]).max(), 1e-3)
        assert np.abs(array - other[name]).max() <= tolerance * largest, name
