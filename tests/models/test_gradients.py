"""The gradient of the whole model against the slope of its loss; and that no parameter is out of reach."""

from collections.abc import Callable

import numpy as np
import pytest

from minibert import BertForPreTraining

from .toys import LENGTHS, Batch, gradients, learn, only_text, take, toy_batch, toy_model

VARIANTS = {
    "bert": {},
    "gelu_new": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2},
    "tanh": {"hidden_act": "tanh", "num_attention_heads": 1},
    "untied": {"tie_word_embeddings": False, "num_attention_heads": 5},
    "pre-norm": {"norm_position": "pre"},
    "sinusoidal": {"position_embedding_type": "sinusoidal", "type_vocab_size": 3},
}
variants = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())


def slope(model: BertForPreTraining, direction: dict[str, np.ndarray], value: Callable[[], float]) -> float:
    """d value / dh at h = 0, where every parameter moves to p + h direction: by four values, error of order h^4."""
    start = {name: array.copy() for name, array in model.state_dict().items()}
    values = {}
    for h in (-2e-3, -1e-3, 1e-3, 2e-3):
        model.load_state_dict({name: start[name] + h * direction[name] for name in start})
        values[h] = value()
    model.load_state_dict(start)
    return (8 * (values[1e-3] - values[-1e-3]) - (values[2e-3] - values[-2e-3])) / (12 * 1e-3)


def random_direction(model: BertForPreTraining, seed: int) -> dict[str, np.ndarray]:
    """Of length 1 over all parameters together, so that the step along it is small whatever the model's size."""
    rng = np.random.default_rng(seed)
    direction = {name: rng.standard_normal(array.shape) for name, array in model.state_dict().items()}
    length = np.sqrt(sum((array**2).sum() for array in direction.values()))
    return {name: array / length for name, array in direction.items()}


@variants
def test_gradient_of_the_loss_with_dropout_is_its_slope_in_any_direction(settings: dict) -> None:
    model, batch = toy_model(**settings).train(), toy_batch()
    stream = model.bert.dropout_stream

    def loss() -> float:
        stream.seek(5)
        return model(**batch).loss.item()

    stream.seek(5)
    _, found = learn(model, batch)
    for seed in range(3):
        direction = random_direction(model, seed)
        inner = sum((found[name] * direction[name]).sum() for name in found)
        assert inner == pytest.approx(slope(model, direction, loss), rel=1e-7)


@pytest.mark.parametrize("name", ["prediction_logits", "pooler_output", "last_hidden_state", "seq_relationship_logits"])
def test_gradient_of_any_output_is_its_slope_for_any_weighting(name: str) -> None:
    model, batch = toy_model(), only_text(toy_batch())
    weighting = np.random.default_rng(8).standard_normal(getattr(model(**batch), name).shape)
    getattr(model(**batch), name).backward(weighting)
    found, direction = gradients(model), random_direction(model, 9)
    inner = sum((found[n] * direction[n]).sum() for n in found if found[n] is not None)
    value = slope(model, direction, lambda: (getattr(model(**batch), name).data * weighting).sum())
    assert inner == pytest.approx(value, rel=1e-7)


def expected_to_be_zero(name: str, shape: tuple[int, ...], batch: Batch, tied: bool) -> np.ndarray:
    """Which numbers of a parameter the loss cannot depend on; (rows, 1) or (1,)."""
    if name.endswith("attention.self.key.bias"):
        return np.ones(1, bool)  # softmax ignores a number added to a whole row
    read = batch["attention_mask"] == 1
    used = {"word_embeddings": batch["input_ids"][read], "position_embeddings": np.arange(max(LENGTHS)),
            "token_type_embeddings": batch["token_type_ids"][read]}
    table = name.split(".")[-2]
    if table in used and not (table == "word_embeddings" and tied):
        return ~np.isin(np.arange(shape[0]), used[table])[:, None]
    return np.zeros(1, bool)


@variants
def test_the_loss_reaches_every_parameter_and_no_row_that_was_not_read(settings: dict) -> None:
    """In every row of a matrix and every number of a vector; of the tables, in the rows that the batch looks up."""
    model, batch = toy_model(**settings), toy_batch()
    _, found = learn(model, batch)
    assert sum("LayerNorm" in name for name in found) == 2 * (2 * 2 + 2 + (model.config.norm_position == "pre"))
    for name, gradient in found.items():
        unread = expected_to_be_zero(name, gradient.shape, batch, model.config.tie_word_embeddings)
        largest = np.abs(gradient).max(-1, keepdims=True) if gradient.ndim == 2 else np.abs(gradient)
        assert np.array_equal(largest < 1e-13, np.broadcast_to(unread, largest.shape)), name


def test_a_tied_table_gets_the_sum_of_both_its_gradients() -> None:
    batch = toy_batch()
    tied, untied = toy_model(), toy_model(tie_word_embeddings=False)
    untied.load_state_dict({**tied.state_dict(),
                            "cls.predictions.decoder.weight": tied.bert.embeddings.word_embeddings.weight.data})
    (_, together), (_, apart) = learn(tied, batch), learn(untied, batch)
    word = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_allclose(together[word], apart[word] + apart["cls.predictions.decoder.weight"], rtol=1e-10,
                               atol=1e-13)
    assert "cls.predictions.decoder.weight" not in together


def test_a_word_that_occurs_often_gets_every_occurrences_gradient() -> None:
    model, batch = toy_model(tie_word_embeddings=False), toy_batch(lengths=(5, 5))
    batch["input_ids"][...] = 7
    _, found = learn(model, batch)
    word, place = (found[f"bert.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position"))
    np.testing.assert_allclose(word[7], place.sum(0), rtol=1e-10)
    assert not np.delete(word, 7, 0).any()


def test_gradients_of_two_backward_passes_add_up() -> None:
    model, batch = toy_model(), toy_batch()
    _, first = learn(model, batch)
    _, second = learn(model, take(batch, slice(0, 3)))
    model(**batch).loss.backward()
    model(**take(batch, slice(0, 3))).loss.backward()
    for name, total in gradients(model).items():
        np.testing.assert_allclose(total, first[name] + second[name], rtol=1e-9, atol=1e-14, err_msg=name)


def test_next_sentence_reaches_the_encoder_only_through_the_first_token() -> None:
    model, batch = toy_model(), toy_batch()
    output = model(**only_text(batch), next_sentence_label=batch["next_sentence_label"])
    output.last_hidden_state.retain_grad()
    output.loss.backward()
    reached = np.abs(output.last_hidden_state.grad).max(-1)
    assert (reached[:, 0] > 0.0).all() and not reached[:, 1:].any()
