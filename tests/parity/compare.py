"""minibert's side of a comparison with Hugging Face's BERT: run it, train it, compare arrays."""

from typing import Any

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining
from minibert.optim import clip_scale, gradient_norm

Arrays = dict[str, np.ndarray]

TRAINING = {  # exaggerated, so that a wrong epsilon, decay or correction cannot hide behind a small step
    "steps": 10, "lr": 0.03, "warmup": 4, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.4, "max_norm": 0.7}
# Softmax ignores a number added to a whole row, so the true gradient of a key's bias is 0 and what is computed is
# rounding: only an absolute bound makes sense there, well below the gradients of the other biases, 0.01 .. 1.
KEY_BIAS, FLOOR = "attention.self.key.bias", 0.01


def assert_close(name: str, mine: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """The largest difference is at most `tolerance` of the tensor's own largest number."""
    assert mine.shape == theirs.shape, f"{name}: {mine.shape} and {theirs.shape}"
    difference, largest = np.abs(mine - theirs).max(), np.abs(theirs).max()
    is_gradient_of_key_bias = name.startswith("grad/") and name.endswith(KEY_BIAS)
    bound = tolerance * (FLOOR if is_gradient_of_key_bias else largest)
    assert difference <= bound, f"{name}: off by {difference:.2e} of {largest:.2e}"


def assert_all_close(mine: Arrays, theirs: Arrays, tolerance: float) -> None:
    assert mine.keys() == theirs.keys()
    for name in theirs:
        assert_close(name, mine[name], theirs[name], tolerance)


def select(arrays: Arrays, *prefixes: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name.startswith(prefixes)}


def strip(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def build(config: dict[str, Any], weights: Arrays, dtype: Any = np.float64) -> BertForPreTraining:
    model = BertForPreTraining(BertConfig.from_dict(config), dtype=dtype)
    model.load_state_dict(weights)
    return model.eval()


def outputs_and_gradients(model: BertForPreTraining, batch: Arrays) -> Arrays:
    """What `reference.outputs_and_gradients` computes with PyTorch, under the same names."""
    output = model(**batch)
    output.loss.backward()
    values = {"prediction_logits": output.prediction_logits, "pooled": output.pooler_output,
              "seq_relationship_logits": output.seq_relationship_logits, "loss": output.loss,
              "masked_lm_loss": output.masked_lm_loss, "next_sentence_loss": output.next_sentence_loss}
    gradients = {f"grad/{name}": p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    return {f"out/{name}": value.data for name, value in values.items()} | gradients


def train(model: BertForPreTraining, batch: Arrays, training: dict[str, Any]) -> Arrays:
    """Some steps of AdamW with warm-up and clipping: the loss before each, and the weights after all."""
    optimizer = AdamW(model.parameters(), betas=tuple(training["betas"]), eps=training["eps"],
                      weight_decay=training["weight_decay"])
    losses = []
    for step in range(1, training["steps"] + 1):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.lr = training["lr"] * min(1.0, step / training["warmup"])
        norm = gradient_norm(optimizer.parameters) + 1e-6  # PyTorch adds this before it divides
        optimizer.step(clip_scale(norm, training["max_norm"]))
        optimizer.zero_grad()
    return {"trained/losses": np.array(losses)} | {f"trained/{n}": a for n, a in model.state_dict().items()}
