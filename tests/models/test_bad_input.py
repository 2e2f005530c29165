"""Whatever is wrong with the input, one sentence says what, where, and what to do; nothing is computed then."""

import warnings
from typing import Any

import numpy as np
import pytest

from minibert import AdamW, BertConfig, BertForPreTraining, BertModel, InputError
from minibert.nn import Parameter

from .toys import SHAPE, only_text, toy_batch, toy_model

IDS = [[5, 6, 7], [8, 9, 3]]
NAN = float("nan")
INPUTS = [  # what is wrong, what the model is given, and words that the message must contain
    ("id too large", {"input_ids": [[1, 2], [3, 37]]}, "input_ids[1, 1] is 37: it must be 0 .. 36"),
    ("id negative", {"input_ids": [[-1, 2]]}, "input_ids[0, 0] is -1: it must be 0 .. 36"),
    ("ids are fractions", {"input_ids": [[1.0, 2.0]]}, "input_ids must hold whole numbers ... float64 ... astype"),
    ("ids are text", {"input_ids": [["raise", "it"]]}, "input_ids must hold whole numbers"),
    ("ids are None", {"input_ids": None}, "input_ids must have shape (batch, length) ... not ()"),
    ("no batch axis", {"input_ids": [1, 2, 3]}, "input_ids must have shape (batch, length) ... not (3,)"),
    ("an axis too many", {"input_ids": [[[1, 2]]]}, "input_ids must have shape (batch, length) ... not (1, 1, 2)"),
    ("no words", {"input_ids": [[]]}, "input_ids ... both at least 1, not (1, 0)"),
    ("no examples", {"input_ids": np.zeros((0, 5), int)}, "input_ids ... both at least 1, not (0, 5)"),
    ("rows of different lengths", {"input_ids": [[1, 2], [3]]}, "input_ids must be a rectangular array"),
    ("too long", {"input_ids": [[1] * 18]}, "input_ids has 18 positions ... this model has 17 ... shorten"),
    ("segment too large", {"token_type_ids": [[0, 1, 2], [0, 0, 0]]}, "token_type_ids[0, 2] is 2: it must be 0 .. 1"),
    ("segments too short", {"token_type_ids": [[0, 1]]}, "token_type_ids must have shape (2, 3) ... not (1, 2)"),
    ("segments are fractions", {"token_type_ids": np.zeros((2, 3))}, "token_type_ids must hold whole numbers"),
    ("mask with NaN", {"attention_mask": [[1, 1, NAN], [1, 1, 1]]}, "attention_mask must hold 1 ... 0 ... NaN"),
    ("mask with a half", {"attention_mask": np.full((2, 3), 0.5)}, "attention_mask must hold 1 (a token) and 0"),
    ("mask with 2", {"attention_mask": [[1, 1, 1], [1, 2, 1]]}, "attention_mask[1, 1] is 2: it must be 0 .. 1"),
    ("mask to be added", {"attention_mask": [[0.0, 0.0, -1e9]] * 2}, "attention_mask must hold 1 (a token) and 0"),
    ("mask transposed", {"attention_mask": np.ones((3, 2), int)}, "attention_mask must ... (2, 3) ... not (3, 2)"),
    ("mask of four axes", {"attention_mask": np.ones((2, 1, 1, 3), int)}, "attention_mask must have shape (2, 3)"),
    ("ragged mask", {"attention_mask": [[1, 1, 1], [1]]}, "attention_mask must be a rectangular array"),
    ("label too large", {"labels": [[37, 0, 0], [0, 0, 0]]}, "labels[0, 0] is 37: it must be 0 .. 36 or -100"),
    ("label of another library", {"labels": [[5, -1, 0], [0, 0, 0]]}, "labels[0, 1] is -1: it must be 0 .. 36 or -100"),
    ("labels too short", {"labels": [[1, 2], [3, 4]]}, "labels must have shape (2, 3), as input_ids has, not (2, 2)"),
    ("labels are fractions", {"labels": np.ones((2, 3))}, "labels must hold whole numbers"),
    ("third class", {"next_sentence_label": [0, 2]}, "next_sentence_label[1] is 2: it must be 0 .. 1 or -100"),
    ("one class for two", {"next_sentence_label": [1]}, "next_sentence_label must have shape (2,) ... not (1,)"),
    ("a column of classes", {"next_sentence_label": [[1], [0]]}, "next_sentence_label must ... (2,) ... not (2, 1)"),
]
FIELDS = [  # what is wrong, fields of the configuration, and words that the message must contain
    ("heads do not divide", {"num_attention_heads": 4}, "hidden_size 15 is not divisible by num_attention_heads 4"),
    ("no words", {"vocab_size": 0}, "vocab_size must be a whole number of at least 1, not 0"),
    ("half a layer", {"num_hidden_layers": 1.5}, "num_hidden_layers must be a whole number, not 1.5"),
    ("True for a number", {"type_vocab_size": True}, "type_vocab_size must be a whole number, not True"),
    ("negative width", {"intermediate_size": -3}, "intermediate_size must be a whole number of at least 1, not -3"),
    ("negative dropout", {"hidden_dropout_prob": -0.1}, "hidden_dropout_prob must be at least 0 and below 1, not -0.1"),
    ("all dropped", {"attention_probs_dropout_prob": 1.0}, "attention_probs_dropout_prob must be ... below 1, not 1.0"),
    ("dropout NaN", {"hidden_dropout_prob": NAN}, "hidden_dropout_prob must be at least 0 and below 1, not nan"),
    ("dropout as text", {"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob must be a number, not '0.1'"),
    ("no epsilon", {"layer_norm_eps": 0}, "layer_norm_eps must be above 0"),
    ("no randomness", {"initializer_range": -0.02}, "initializer_range must be above 0"),
    ("padding outside", {"pad_token_id": 37}, "pad_token_id must be below vocab_size 37, not 37"),
    ("padding None", {"pad_token_id": None}, "pad_token_id must be a whole number, not None"),
    ("tie as text", {"tie_word_embeddings": "no"}, "tie_word_embeddings must be True or False, not 'no'"),
    ("activation", {"hidden_act": "swish"}, "hidden_act 'swish' is not supported: choose one of gelu, gelu_new, relu"),
    ("activation None", {"hidden_act": None}, "hidden_act must be a name, not None"),
    ("positions", {"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key' ... sinusoidal"),
    ("normalisation", {"norm_position": "both"}, "norm_position 'both' is not supported: choose one of post, pre"),
]
FOREIGN = [  # only from files: fields that BertConfig does not have
    ("typing mistake", {"num_atention_heads": 3}, "unknown field 'num_atention_heads': did you mean 'num_attention"),
    ("unknown", {"sliding_window": 3}, "unknown field 'sliding_window' ... remove it if it does not"),
    ("decoder", {"is_decoder": True}, "sets is_decoder ... encoder"),
    ("cross-attention", {"add_cross_attention": True}, "sets add_cross_attention ... encoder"),
    ("another model", {"model_type": "gpt2"}, "a model of type 'gpt2' ... only bert"),
]
OPTIMISER = [
    ("no parameters", {"parameters": []}, "AdamW got no parameters: pass model.parameters()"),
    ("named parameters", {"parameters": toy_model().named_parameters()}, "without their names: pass model.par"),
    ("negative lr", {"lr": -1e-4}, "AdamW's lr must be at least 0 and finite, not -0.0001"),
    ("lr NaN", {"lr": NAN}, "AdamW's lr must be ... not nan"),
    ("infinite lr", {"lr": float("inf")}, "AdamW's lr must be ... finite, not inf"),
    ("no epsilon", {"eps": 0.0}, "AdamW's eps must be above 0"),
    ("beta of 1", {"betas": (0.9, 1.0)}, "AdamW's betas must be two ... not (0.9, 1.0)"),
    ("one beta", {"betas": (0.9,)}, "AdamW's betas must be two ... not (0.9,)"),
    ("negative decay", {"weight_decay": -0.01}, "AdamW's weight_decay must be at least 0"),
    ("a transposed array", {"parameters": [Parameter(np.ones((3, 4)).T)]}, "(4, 3) ... row by row ... contiguous"),
]


def table(rows: list[tuple[str, dict[str, Any], str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("wrong", "words"), [row[1:] for row in rows], ids=[row[0] for row in rows])


def assert_one_sentence(error: BaseException, words: str) -> None:
    """The message holds these words in this order; the dots stand for any others."""
    message = str(error)
    assert type(error) is InputError, repr(error)
    position = 0
    for part in words.split(" ... "):
        position = message.find(part, position)
        assert position >= 0, f"{part!r} is missing, or out of order, in {message!r}"
    assert "\n" not in message and not message.endswith(".") and 20 < len(message) < 400, message


@table(INPUTS)
def test_inputs_are_refused(wrong: dict[str, Any], words: str) -> None:
    model = toy_model().train()
    with pytest.raises(ValueError) as error:
        model(**{"input_ids": IDS, **wrong})
    assert_one_sentence(error.value, words)


@table([row for row in INPUTS if not {"labels", "next_sentence_label"} & row[1].keys()])
def test_inputs_are_refused_by_the_bare_encoder(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        toy_model().bert(**{"input_ids": IDS, **wrong})
    assert_one_sentence(error.value, words)


@table(FIELDS)
def test_configurations_are_refused(wrong: dict[str, Any], words: str) -> None:
    for build in (lambda: BertConfig(**(SHAPE | wrong)), lambda: BertConfig.from_dict(SHAPE | wrong)):
        with pytest.raises((ValueError, TypeError)) as error:
            build()
        assert_one_sentence(error.value, words)


@table(FOREIGN)
def test_foreign_configurations_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        BertConfig.from_dict(SHAPE | wrong, "a/config.json")
    assert_one_sentence(error.value, f"a/config.json ... {words}")


def test_switched_off_decoder_fields_are_accepted() -> None:
    assert BertConfig.from_dict(SHAPE | {"is_decoder": False, "add_cross_attention": False}) == BertConfig(**SHAPE)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(InputError, match="unknown preset 'huge': choose one of tiny, mini, small, base"):
        BertConfig.preset("huge")


@table(OPTIMISER)
def test_optimiser_settings_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        AdamW(**{"parameters": toy_model().parameters(), **wrong})
    assert_one_sentence(error.value, words)


@pytest.mark.parametrize("bare", [False, True], ids=["with heads", "bare"])
def test_padding_without_a_mask_warns_at_the_callers_line(bare: bool) -> None:
    """Padding that is read as text changes every vector, and is the commonest question about BERT."""
    model: BertForPreTraining | BertModel = toy_model().bert if bare else toy_model()
    with pytest.warns(UserWarning, match="ends in padding, but no attention_mask was given") as caught:
        model([[4, 5, 0]])
    assert [warning.filename for warning in caught] == [__file__]


def test_padding_with_a_mask_and_text_without_padding_do_not_warn() -> None:
    model, batch = toy_model(), only_text(toy_batch())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(**batch)
        model([[0, 4, 5]])
        toy_model(pad_token_id=3)([[4, 5, 0]])


def test_refused_weights_change_nothing() -> None:
    model, other = toy_model(seed=1), toy_model(seed=2).state_dict()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    last = list(other)[-1]
    for wrong in (other[last][:1], np.full_like(other[last], NAN)):
        with pytest.raises(InputError, match=last):
            model.load_state_dict(other | {last: wrong})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
