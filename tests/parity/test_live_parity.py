"""minibert against Hugging Face's BERT, run side by side, at many shapes; only where PyTorch is installed."""

from typing import Any

import numpy as np
import pytest

from .compare import TRAINING, assert_all_close, assert_close, build, outputs_and_gradients, train

pytest.importorskip("torch")
pytest.importorskip("transformers")

from . import reference

ACTIVATIONS = ("gelu", "relu", "gelu_new")
SHAPES = [(1, 1), (4, 2), (1, 7), (3, 5), (5, 9), (2, 13), (6, 4)]  # (rows, length)
CASES = range(14)


def draw(case: int) -> tuple[dict[str, Any], int, int]:
    """A configuration, rows and length: layers 1-3, heads 1-5, every activation, one or two types, tied and not."""
    rng = np.random.default_rng(case)
    heads = 1 + case % 5
    config = {
        "vocab_size": int(rng.integers(11, 60)), "hidden_size": heads * int(rng.integers(3, 6)),
        "num_hidden_layers": 1 + case % 3, "num_attention_heads": heads,
        "intermediate_size": int(rng.integers(5, 31)), "hidden_act": ACTIVATIONS[case % 3],
        "type_vocab_size": 1 + case // 2 % 2, "tie_word_embeddings": case % 4 != 3,
        "layer_norm_eps": (1e-12, 1e-5, 1e-2)[case // 3 % 3]}
    rows, length = SHAPES[case % len(SHAPES)]
    return config | {"max_position_embeddings": length + int(rng.integers(0, 4))}, rows, length


def twins(case: int) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Hugging Face's model, minibert's with the same weights, and a batch for both."""
    config, rows, length = draw(case)
    theirs = reference.random_model(config, case)
    weights = reference.weights(theirs)
    decoder_bias = weights.pop("cls.predictions.decoder.bias", None)
    if decoder_bias is not None:  # untied in transformers 5, where the other one is never used
        weights["cls.predictions.bias"] = decoder_bias
    return theirs, build(config, weights), reference.random_batch(config, rows, length, 100 + case)


def as_mine(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Where transformers has a bias of its own for the untied decoder, that one is minibert's only bias."""
    for name in [n for n in arrays if n.endswith("cls.predictions.decoder.bias")]:
        arrays[name.replace("decoder.bias", "bias")] = arrays.pop(name)
    return arrays


@pytest.mark.parametrize("case", CASES)
def test_logits_losses_and_gradients(case: int) -> None:
    theirs, mine, batch = twins(case)
    theirs_bias = theirs.cls.predictions.bias
    if theirs_bias is not theirs.cls.predictions.decoder.bias:
        theirs_bias.grad = theirs_bias.new_zeros(theirs_bias.shape)  # unused, so PyTorch would leave it at None
    expected = as_mine(reference.outputs_and_gradients(theirs, batch))
    assert_all_close(outputs_and_gradients(mine, batch), expected, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_ten_steps_of_adamw(case: int) -> None:
    theirs, mine, batch = twins(case)
    expected = as_mine(reference.train(theirs, batch, TRAINING))
    assert_all_close(train(mine, batch, TRAINING), expected, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_attentions_and_hidden_states_of_every_layer(case: int) -> None:
    theirs, mine, batch = twins(case)
    expected = reference.run(theirs, batch, output_attentions=True, output_hidden_states=True)
    output = mine(**batch, output_attentions=True, output_hidden_states=True)
    assert len(output.attentions) == len(expected.attentions) == mine.config.num_hidden_layers
    assert len(output.hidden_states) == len(expected.hidden_states) == mine.config.num_hidden_layers + 1
    for i, (probs, probs_expected) in enumerate(zip(output.attentions, expected.attentions, strict=True)):
        assert_close(f"attentions[{i}]", probs, probs_expected.detach().numpy(), 1e-9)
    for i, (state, state_expected) in enumerate(zip(output.hidden_states, expected.hidden_states, strict=True)):
        assert_close(f"hidden_states[{i}]", state.data, state_expected.detach().numpy(), 1e-9)


def test_defaults_of_optional_inputs_agree() -> None:
    """No segments means segment 0, and no mask means that everything is text."""
    theirs, mine, batch = twins(3)
    ids = {"input_ids": batch["input_ids"] + (batch["input_ids"] == 0)}
    expected = reference.run(theirs, ids).prediction_logits.detach().numpy()
    assert_close("prediction_logits", mine(**ids).prediction_logits.data, expected, 1e-9)
