"""BERT with the two heads it is pretrained with: masked language model and next sentence."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import functional as F
from minibert.models.bert import BertModel, BertOutput
from minibert.models.config import BertConfig
from minibert.models.inputs import integers
from minibert.models.labelled import Labelled
from minibert.models.pretrained import PretrainedModel
from minibert.nn import Initializer, LayerNorm, Linear, Module, Parameter
from minibert.nn.layers import activated
from minibert.tensor import Tensor


class PredictionTransform(Module):
    """LayerNorm(activation(dense(x))): (M, H) -> (M, H)."""

    def __init__(self, config: BertConfig, init: Initializer) -> None:
        self.dense = Linear(config.hidden_size, config.hidden_size, init)
        self.LayerNorm = LayerNorm(config.hidden_size, init, config.layer_norm_eps)
        self.activation = config.hidden_act

    def forward(self, x: Tensor) -> Tensor:
        """(M, H) -> (M, H)."""
        return self.LayerNorm(activated(self.dense, self.activation, x))


class MaskedLMHead(Module):
    """A score for every word of the vocabulary: (..., H) -> (..., V).

    The last map is the table of word embeddings itself, unless the configuration unties the two.
    """

    def __init__(self, config: BertConfig, word_embeddings: Parameter, init: Initializer) -> None:
        self.bias = Parameter(init.zeros(config.vocab_size), decay=False)
        self.transform = PredictionTransform(config, init)
        self.decoder = Linear(config.hidden_size, config.vocab_size, init, bias=False)
        if config.tie_word_embeddings:
            self.decoder.weight = word_embeddings

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) -> (..., V)."""
        return F.linear(self.transform(x), self.decoder.weight, self.bias)


class PreTrainingHeads(Module):
    """Masked-LM scores from every position, next-sentence scores from the pooled [CLS]."""

    def __init__(self, config: BertConfig, word_embeddings: Parameter, init: Initializer) -> None:
        self.predictions = MaskedLMHead(config, word_embeddings, init)
        self.seq_relationship = Linear(config.hidden_size, 2, init)

    def forward(self, x: Tensor | None, pooled: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """x (..., H) -> (..., V), pooled (B, H) -> (B, 2), each where it is given."""
        return (None if x is None else self.predictions(x)), (None if pooled is None else self.seq_relationship(pooled))


@dataclass
class PreTrainingOutput(BertOutput):
    """What `BertForPreTraining` computes.

    seq_relationship_logits (B, 2): class 0 = B follows A, class 1 = B is a sentence of another document.
    loss () = masked_lm_loss () + next_sentence_loss (), each None where its labels were not given.
    masked_lm_logits (M, V): the scores at the M labelled positions, row by row; None without labels.
    """

    seq_relationship_logits: Tensor | None = None
    loss: Tensor | None = None
    masked_lm_loss: Tensor | None = None
    next_sentence_loss: Tensor | None = None
    masked_lm_logits: Tensor | None = None
    _heads: PreTrainingHeads | None = None

    @property
    def prediction_logits(self) -> Tensor:
        """(B, T, V): the scores at every position, computed when asked for, because training needs so few.

        With labelled_only they are (B, R, V), those of the positions in last_hidden_state.
        """
        assert self._heads is not None
        logits: Tensor = self._heads(self.last_hidden_state, None)[0]
        return logits


class BertForPreTraining(PretrainedModel):
    """BERT with both heads.  `seed`, `dtype` and `device` as for BertModel."""

    def __init__(self, config: BertConfig, seed: int = 0, dtype: Any = np.float32,
                 device: str = "cpu") -> None:
        init = Initializer(seed, config.initializer_range, dtype)
        super().__init__(config)
        self.bert = BertModel(config, seed, dtype, init)
        self.cls = PreTrainingHeads(config, self.bert.embeddings.word_embeddings.weight, init)
        self.name_parameters()
        self.to(device)

    def forward(self, input_ids: Any, token_type_ids: Any = None, attention_mask: Any = None, *, labels: Any = None,
                next_sentence_label: Any = None, masked_count: int | None = None, pair_count: int | None = None,
                output_hidden_states: bool = False, output_attentions: bool = False,
                labelled_only: bool = False) -> PreTrainingOutput:
        """labels (B, T): the word behind each masked position, IGNORE_INDEX elsewhere; next_sentence_label (B,).
        Or a `Labelled`, which is taken as it is.

        masked_count, pair_count: when the batch is processed in parts, how many labels of each kind the whole
        batch has; the losses of the parts then add up to the loss of the batch, whatever way it was cut.
        labelled_only: compute the last layer at [CLS] and the labelled positions alone. Losses and gradients are the
        same, for less work; last_hidden_state (B, R, H) has [CLS] first and the labelled positions in order, and the
        last of hidden_states and attentions (B, A, R, T) are of these, too.
        Raises InputError for anything out of range or shape.
        """
        input_ids = integers(input_ids, "input_ids", None, 0, self.config.vocab_size)
        if labels is not None and not isinstance(labels, Labelled):
            labels = integers(labels, "labels", input_ids.shape, 0, self.config.vocab_size, ignore=True)
            labels = Labelled.alone(labels) if labelled_only else Labelled.everywhere(labels)
        encoded = self.bert(input_ids, token_type_ids, attention_mask, output_hidden_states=output_hidden_states,
                            output_attentions=output_attentions, only=labels and labels.only)
        output = PreTrainingOutput(**vars(encoded), _heads=self.cls)
        read = None if labels is None else encoded.last_hidden_state[labels.rows]
        output.masked_lm_logits, output.seq_relationship_logits = self.cls(read, encoded.pooler_output)
        if labels is not None:
            output.masked_lm_loss = F.cross_entropy(output.masked_lm_logits, labels.labels, masked_count)
        if next_sentence_label is not None:
            classes = integers(next_sentence_label, "next_sentence_label", (len(input_ids),), 0, 2, ignore=True)
            output.next_sentence_loss = F.cross_entropy(output.seq_relationship_logits, classes, pair_count)
        losses = [loss for loss in (output.masked_lm_loss, output.next_sentence_loss) if loss is not None]
        output.loss = sum(losses[1:], losses[0]) if losses else None
        return output
