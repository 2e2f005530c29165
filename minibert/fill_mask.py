"""Fill in the blanks: what a model would put in place of [MASK]."""

from typing import NamedTuple

import numpy as np

from minibert.backend import to_host
from minibert.errors import InputError
from minibert.graph import no_grad
from minibert.models.config import BertConfig
from minibert.models.pretraining import BertForPreTraining
from minibert.text.tokenizer import Tokenizer


class Guess(NamedTuple):
    """A piece of the vocabulary, and how probable the model finds it."""

    piece: str
    probability: float


def fill_mask(model: BertForPreTraining, tokenizer: Tokenizer, text: str, top: int = 5) -> list[list[Guess]]:
    """The `top` best guesses for each [MASK] of `text`, best first.

    Raises InputError when the text has no [MASK], is too long for the model or no Unicode, or the vocabularies differ.
    """
    check_same_vocabulary(tokenizer, model.config)
    check_unicode(text, repr(text))
    encoded = tokenizer.encode(text)
    ids = np.array(encoded["input_ids"])
    if len(ids) > model.config.max_position_embeddings:
        raise InputError(f"the text has {len(ids)} tokens with [CLS] and [SEP], and this model reads at most "
                         f"{model.config.max_position_embeddings}: shorten it")
    blanks = np.flatnonzero(ids == tokenizer.mask_id)
    if not blanks.size:
        raise InputError(f"there is no [MASK] in {text!r}: write [MASK], in capitals, where a word is missing")
    training, _ = model.training, model.eval()
    with no_grad():
        logits = to_host(model(ids[None]).prediction_logits.data[0, blanks]).astype(np.float64)
    model.train(training)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return [[Guess(tokenizer.token(int(i)), float(row[i])) for i in np.argsort(-row)[:top]] for row in p]


def check_same_vocabulary(tokenizer: Tokenizer, config: BertConfig) -> None:
    """Raise InputError when the tokenizer is of another vocabulary than the model."""
    if tokenizer.vocab_size != config.vocab_size:
        raise InputError(f"the tokenizer has {tokenizer.vocab_size} pieces and the model {config.vocab_size}: "
                         f"they do not belong together")


def check_unicode(text: str, name: str) -> None:
    """Raise InputError, calling it `name`, for a text with surrogates, or for what is no text at all."""
    if not isinstance(text, str):
        raise InputError(f"{name} must be a string, and it is of type {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:  # surrogates are what Python makes of bytes that are not UTF-8
        raise InputError(f"{name} is not Unicode text: give it in UTF-8") from None
