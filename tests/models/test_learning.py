"""That models learn, that dropout is on exactly when it should be, and what forward passes promise besides."""

import math

import numpy as np
import pytest

from minibert import AdamW, BertConfig, BertForPreTraining, BertModel, Tensor, no_grad
from minibert.optim import clip_scale, gradient_norm

from .toys import LENGTHS, Batch, only_text, toy_batch, toy_config, toy_model

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def train(model: BertForPreTraining, batch: Batch, steps: int, lr: float = 0.01) -> list[float]:
    optimizer = AdamW(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step(clip_scale(gradient_norm(optimizer.parameters), 1.0))
        optimizer.zero_grad()
    return losses


@pytest.mark.parametrize("seed", range(3))
def test_loss_at_the_start_is_that_of_guessing(seed: int) -> None:
    """ln V for the masked word and ln 2 for the next sentence: initial weights must not favour any answer."""
    config = BertConfig(vocab_size=997, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                        intermediate_size=50, max_position_embeddings=17)
    output = BertForPreTraining(config, seed=seed)(**toy_batch(seed, lengths=(17,) * 20))
    assert output.masked_lm_loss.item() == pytest.approx(math.log(997), abs=0.05)
    assert output.next_sentence_loss.item() == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("settings", [
    {}, {"norm_position": "pre"}, {"hidden_act": "relu", "tie_word_embeddings": False},
    {"hidden_act": "tanh", "position_embedding_type": "sinusoidal"},
    {"hidden_act": "gelu_new", "num_attention_heads": 1, "num_hidden_layers": 1}], ids=str)
def test_one_batch_can_be_learnt_by_heart(settings: dict) -> None:
    model, batch = BertForPreTraining(toy_config(**settings, **NO_DROPOUT)), toy_batch()
    losses = train(model, batch, 110)
    assert losses[0] == pytest.approx(math.log(37) + math.log(2), abs=0.4)
    assert losses[-1] < 0.02
    output = model.eval()(**batch)
    chosen = batch["labels"] != -100
    np.testing.assert_array_equal(output.prediction_logits.data[chosen].argmax(-1), batch["labels"][chosen])
    np.testing.assert_array_equal(output.seq_relationship_logits.data.argmax(-1), batch["next_sentence_label"])


def test_learning_goes_on_under_dropout() -> None:
    model, batch = BertForPreTraining(toy_config()), toy_batch()
    train(model, batch, 110)
    assert model.eval()(**batch).loss.item() < 1.0


def test_two_trainings_from_one_seed_are_the_same_and_from_another_are_not() -> None:
    runs = [train(BertForPreTraining(toy_config(), seed=seed), toy_batch(), 5) for seed in (4, 4, 5)]
    assert runs[0] == runs[1] and runs[0] != runs[2]


@pytest.mark.parametrize("settings", [{"hidden_dropout_prob": 0.0}, {"attention_probs_dropout_prob": 0.0}], ids=str)
def test_dropout_is_on_in_training_only_and_anew_each_time_until_sought_again(settings: dict) -> None:
    """Either kind of dropout alone."""
    model, batch = toy_model(**settings), toy_batch()
    stream = model.bert.dropout_stream

    def loss() -> float:
        return model(**batch).loss.item()

    calm = [loss(), loss()]
    assert stream.step == 0
    model.train()
    noisy = [loss(), loss()]
    assert stream.step == 2
    stream.seek(0)
    again = [loss(), loss()]
    assert calm[0] == calm[1] and noisy == again
    assert len({calm[0], *noisy}) == 3


def assert_drops(noisy: np.ndarray, calm: np.ndarray, p: float) -> None:
    """Every number is either 0, a share of p of them, or what it is without dropout, scaled up."""
    dropped = noisy == 0.0
    assert dropped.mean() == pytest.approx(p, abs=0.06) and (calm != 0.0).all()
    np.testing.assert_allclose(noisy[~dropped], calm[~dropped] / (1.0 - p), rtol=1e-4)


def test_dropout_falls_where_bert_drops() -> None:
    """On the normalised embeddings, and on both projections of a layer before they are added to what came in."""
    model, ids = toy_model(norm_position="pre"), toy_batch(lengths=(17,) * 6)["input_ids"]
    layer, rng = model.bert.encoder.layer[0], np.random.default_rng(6)
    x, fx, wide = (Tensor(rng.standard_normal((6, 17, n))) for n in (15, 15, 19))
    calm, noisy = ([model.train(mode).bert.embeddings(ids, 0 * ids).data,
                    layer.attention.output(fx, Tensor(0.0 * x.data)).data,
                    layer.output(wide, Tensor(0.0 * x.data)).data] for mode in (False, True))
    for calm_one, noisy_one in zip(calm, noisy, strict=True):
        assert_drops(noisy_one, calm_one, p=0.2)
    np.testing.assert_allclose(layer.eval().output(wide, x).data, calm[2] + x.data, rtol=1e-12)


def test_attention_drops_with_its_own_probability() -> None:
    """Values of 1 make the context the sum of the probabilities that survived: 1 on average."""
    model = toy_model(attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0).train()
    attention = model.bert.encoder.layer[0].attention.self
    attention.value.weight.data[...], attention.value.bias.data[...] = 0.0, 1.0
    context = attention(Tensor(np.random.default_rng(7).standard_normal((9, 17, 15)))).data
    assert context.mean() == pytest.approx(1.0, abs=0.1) and context.std() > 0.1
    np.testing.assert_allclose(attention.eval()(Tensor(np.ones((2, 5, 15)))).data, 1.0, rtol=1e-12)


def test_every_layer_drops_something_else() -> None:
    model = toy_model(num_hidden_layers=3)
    sites = [module.site for module in model.modules() if hasattr(module, "site")]
    assert sorted(sites) == list(range(1 + 3 * 3)), "one after the embeddings, three in each layer"


def test_without_dropout_training_and_use_are_the_same() -> None:
    model, batch = toy_model(**NO_DROPOUT), toy_batch()
    assert model.train()(**batch).loss.item() == model.eval()(**batch).loss.item()


def test_models_of_one_seed_agree_in_float32_and_float64() -> None:
    single, double = (BertForPreTraining(toy_config(), seed=3, dtype=dtype).eval()
                      for dtype in (np.float32, np.float64))
    for (name, p), q in zip(single.named_parameters(), double.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data.astype(np.float32), err_msg=name)
    batch = toy_batch()
    one, two = single(**batch), double(**batch)
    for name in ("prediction_logits", "seq_relationship_logits", "loss", "pooler_output"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.dtype == np.float32 and b.dtype == np.float64
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)
    one.loss.backward()
    assert {p.grad.dtype for p in single.parameters()} == {np.dtype(np.float32)}


def test_everybodys_attention_adds_up_to_1_and_never_falls_on_padding() -> None:
    model, batch = toy_model(), toy_batch()
    attentions = model.train()(**batch, output_attentions=True).attentions
    assert [probs.shape for probs in attentions] == [(7, 3, 11, 11)] * 2
    for probs in attentions:
        np.testing.assert_allclose(probs.sum(-1), 1.0, rtol=1e-12)
        assert (probs >= 0.0).all() and probs.std() > 0.01
        assert all((probs[row, :, :, length:] == 0.0).all() for row, length in enumerate(LENGTHS))


def test_hidden_states_begin_with_the_embeddings_and_end_with_the_output() -> None:
    for norm in ("post", "pre"):
        model, batch = toy_model(norm_position=norm), only_text(toy_batch())
        output = model(**batch, output_hidden_states=True)
        embedded = model.bert.embeddings(batch["input_ids"], batch["token_type_ids"])
        assert len(output.hidden_states) == 3
        np.testing.assert_array_equal(output.hidden_states[0].data, embedded.data)
        assert output.hidden_states[-1] is output.last_hidden_state
        assert model(**batch).hidden_states is None and model(**batch).attentions is None


def test_losses_exist_where_labels_were_given() -> None:
    model, batch = toy_model(), toy_batch()
    text, both = only_text(batch), model(**batch)
    nothing = model(**text)
    masked = model(**text, labels=batch["labels"])
    pair = model(**text, next_sentence_label=batch["next_sentence_label"])
    assert nothing.loss is nothing.masked_lm_loss is nothing.next_sentence_loss is nothing.masked_lm_logits is None
    assert masked.next_sentence_loss is None and masked.loss.item() == both.masked_lm_loss.item()
    assert pair.masked_lm_loss is None and pair.loss.item() == both.next_sentence_loss.item()


def test_a_mask_of_ones_of_any_kind_is_no_mask() -> None:
    model, batch = toy_model(), toy_batch(lengths=(6, 6, 6))
    expected = model(batch["input_ids"]).last_hidden_state.data
    for ones in (np.ones((3, 6), bool), np.ones((3, 6), np.float32), np.ones((3, 6), np.uint8).tolist()):
        np.testing.assert_array_equal(model(batch["input_ids"], None, ones).last_hidden_state.data, expected)


def test_no_graph_is_kept_inside_no_grad() -> None:
    model, batch = toy_model(), toy_batch()
    with no_grad():
        assert not model(**batch).loss.requires_grad
    assert model(**batch).loss.requires_grad


def test_the_bare_encoder_is_the_one_inside_the_model_with_heads() -> None:
    full, text = toy_model(), only_text(toy_batch())
    bare = BertModel(full.config, dtype=np.float64).eval()
    bare.load_state_dict({name.removeprefix("bert."): array for name, array in full.state_dict().items()
                          if name.startswith("bert.")})
    np.testing.assert_array_equal(bare(**text).pooler_output.data, full(**text).pooler_output.data)
