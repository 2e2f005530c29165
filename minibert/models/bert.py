"""BERT: embeddings, encoder, pooler.  Devlin et al. 2019 (arXiv:1810.04805).

Parameters have the names of Hugging Face's `BertModel`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minibert import functional as F
from minibert.backend import Array, array_module, device_of
from minibert.errors import InputError
from minibert.models.config import BertConfig
from minibert.models.inputs import attention_mask as as_mask
from minibert.models.inputs import integers, warn
from minibert.models.pretrained import PretrainedModel
from minibert.nn import (
    Dropout,
    Embedding,
    EncoderLayer,
    Initializer,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    Positions,
    recompute,
    seed_dropout,
    sinusoidal_positions,
)
from minibert.tensor import Tensor


@dataclass
class BertOutput:
    """What a BERT computes.

    last_hidden_state (B, T, H); pooler_output (B, H), from the first token, [CLS];
    hidden_states: on request, the embeddings and each layer's output, (B, T, H) each;
    attentions: on request, who looks at whom in each layer, arrays (B, A, T, T) whose rows sum to 1.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor
    hidden_states: list[Tensor] | None = None
    attentions: list[Array] | None = None


class BertEmbeddings(Module):
    """LayerNorm(word + position + segment), then dropout: ids (B, T) -> (B, T, H).  Devlin et al., figure 2."""

    def __init__(self, config: BertConfig, init: Initializer) -> None:
        H = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, H, init)
        self.position_embeddings = (Embedding(config.max_position_embeddings, H, init)
                                    if config.position_embedding_type == "absolute" else None)
        self.token_type_embeddings = Embedding(config.type_vocab_size, H, init)
        self.LayerNorm = LayerNorm(H, init, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self._sinusoids = sinusoidal_positions(config.max_position_embeddings, H, init.dtype)

    def forward(self, input_ids: Array, token_type_ids: Array) -> Tensor:
        """Both (B, T)."""
        T = input_ids.shape[1]
        table = self.position_embeddings
        places = array_module(input_ids).arange(T)
        positions = table(places) if table else Tensor(self._sinusoids[:T])                     # (T, H)
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids) + positions
        return self.dropout(self.LayerNorm(x))


class BertEncoder(Module):
    """The layers, one after the other, and with pre-norm a last normalisation: (B, T, H) -> (B, T, H)."""

    def __init__(self, config: BertConfig, init: Initializer) -> None:
        c, pre_norm = config, config.norm_position == "pre"
        self.layer = ModuleList(
            EncoderLayer(c.hidden_size, c.num_attention_heads, c.intermediate_size, c.hidden_act,
                         c.attention_probs_dropout_prob, c.hidden_dropout_prob, pre_norm, c.layer_norm_eps, init)
            for _ in range(c.num_hidden_layers))
        self.LayerNorm = LayerNorm(c.hidden_size, init, c.layer_norm_eps) if pre_norm else None
        self.recompute = False  # keep only each layer's input for backward, see minibert.nn.recompute

    def forward(self, x: Tensor, mask: Array | None, states: list[Tensor] | None, probs: list[Array] | None,
                only: Positions | None = None) -> Tensor:
        """Each layer's input is appended to `states`, and its attention to `probs`, where they are given.

        only: the positions at which the last layer is computed; (B, R, H) comes out then.
        """
        for number, layer in enumerate(self.layer, 1):
            if states is not None:
                states.append(x)
            last = only if number == len(self.layer) else None
            if self.recompute and probs is None:
                x = recompute(partial(layer, mask=mask, only=last), x)
            else:
                x = layer(x, mask, probs, last)
        x = self.LayerNorm(x) if self.LayerNorm else x
        if states is not None:
            states.append(x)
        return x


class BertPooler(Module):
    """tanh(dense(first token)): (B, T, H) -> (B, H)."""

    def __init__(self, hidden: int, init: Initializer) -> None:
        self.dense = Linear(hidden, hidden, init)

    def forward(self, x: Tensor) -> Tensor:
        """Reads [CLS], the token at position 0."""
        return F.tanh(self.dense(x[:, 0]))


class BertModel(PretrainedModel):
    """Embeddings, encoder and pooler.

    seed: of the initial weights and of dropout.  dtype: float32 to train, float64 to check.  device: see `Module.to`.
    """

    def __init__(self, config: BertConfig, seed: int = 0, dtype: Any = np.float32,
                 init: Initializer | None = None, device: str = "cpu") -> None:
        init = init or Initializer(seed, config.initializer_range, dtype)
        super().__init__(config)
        self.embeddings = BertEmbeddings(config, init)
        self.encoder = BertEncoder(config, init)
        self.pooler = BertPooler(config.hidden_size, init)
        seed_dropout(self, seed)
        self.name_parameters()
        self.to(device)

    def forward(self, input_ids: Any, token_type_ids: Any = None, attention_mask: Any = None, *,
                output_hidden_states: bool = False, output_attentions: bool = False,
                only: Positions | None = None) -> BertOutput:
        """input_ids, token_type_ids (segment, default 0), attention_mask (1 = token, 0 = padding): all (B, T).

        only: the positions at which the last layer is computed, the first of them 0, where the pooler reads.
        Raises InputError for anything out of range or shape.
        """
        c = self.config
        input_ids = integers(input_ids, "input_ids", None, 0, c.vocab_size)
        B, T = input_ids.shape
        if c.max_position_embeddings < T:
            raise InputError(f"input_ids has {T} positions, and this model has {c.max_position_embeddings}: "
                             f"shorten the text, or raise max_position_embeddings before training")
        token_type_ids = (array_module(input_ids).zeros_like(input_ids) if token_type_ids is None else
                          integers(token_type_ids, "token_type_ids", (B, T), 0, c.type_vocab_size))
        mask = None if attention_mask is None else as_mask(attention_mask, (B, T))
        if attention_mask is None and device_of(input_ids) == "cpu" and (input_ids[:, -1] == c.pad_token_id).any():
            warn("input_ids ends in padding, but no attention_mask was given: the model will read the padding as text")
        states: list[Tensor] | None = [] if output_hidden_states else None
        probs: list[Array] | None = [] if output_attentions else None
        x = self.encoder(self.embeddings(input_ids, token_type_ids), mask, states, probs, only)
        return BertOutput(x, self.pooler(x), states, probs)
