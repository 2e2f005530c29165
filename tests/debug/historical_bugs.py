"""Bugs that some BERT had, each planted in a healthy model, or in its data or training.

`MODEL_BUGS[name].plant(model)` changes the model that it is given, and returns it; nothing outside the model changes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minibert import BertForPreTraining, Tensor
from minibert import functional as F
from minibert.models import PreTrainingOutput
from minibert.models.bert import BertEmbeddings
from minibert.nn import Dropout, Embedding, LayerNorm, Module, Parameter
from minibert.nn.attention import Residual
from minibert.ops.dropout import DropoutKey, Part
from minibert.ops.loss import IGNORE_INDEX

Batch = dict[str, np.ndarray]


class PairLossIgnoresLabel0(BertForPreTraining):
    """One ignore index, 0, for words and for pairs: a pair labelled 0 never counts."""

    def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
        if options.get("next_sentence_label") is not None:
            pairs = np.asarray(options["next_sentence_label"])
            options["next_sentence_label"] = np.where(pairs == 0, IGNORE_INDEX, pairs)
        return super().forward(*args, **options)


class MaskedLossOverPadding(BertForPreTraining):
    """The masked loss is divided by the number of all positions."""

    def forward(self, input_ids: Any, *args: Any, **options: Any) -> PreTrainingOutput:
        if options.get("masked_count") is None:
            options["masked_count"] = np.size(input_ids)
        return super().forward(input_ids, *args, **options)


class EveryPositionHasALabel(BertForPreTraining):
    """The mark of a position without a label is taken for the first word of the vocabulary."""

    def forward(self, *args: Any, **options: Any) -> PreTrainingOutput:
        if options.get("labels") is not None:
            options["labels"] = np.where(options["labels"] == IGNORE_INDEX, 0, options["labels"])
        return super().forward(*args, **options)


class InvertedMask(BertForPreTraining):
    """The attention mask is upside down: 1 = do not look."""

    def forward(self, input_ids: Any, token_type_ids: Any = None, attention_mask: Any = None,
                **options: Any) -> PreTrainingOutput:
        mask = np.ones_like(input_ids) if attention_mask is None else np.asarray(attention_mask)
        return super().forward(input_ids, token_type_ids, 1 - mask, **options)


class NoMask(BertForPreTraining):
    """The attention mask gets lost on the way."""

    def forward(self, input_ids: Any, token_type_ids: Any = None, attention_mask: Any = None,
                **options: Any) -> PreTrainingOutput:
        return super().forward(input_ids, token_type_ids, np.ones_like(input_ids), **options)


class CutEmbeddings(BertEmbeddings):
    """The embeddings are wrapped in a new tensor, which knows nothing of the tables."""

    def forward(self, input_ids: Any, token_type_ids: Any) -> Tensor:
        return Tensor(super().forward(input_ids, token_type_ids).data, requires_grad=True)


class RepeatedTokensLost(Embedding):
    """The gradient is assigned to the rows of the table, and not added: of equal tokens the last one wins."""

    def forward(self, ids: Any) -> Tensor:
        y = super().forward(ids)
        flat = np.asarray(ids).reshape(-1)
        last = {token: place for place, token in enumerate(flat.tolist())}
        wins = np.isin(np.arange(flat.size), list(last.values())).reshape(np.shape(ids))[..., None]
        return F.where(wins, y, y.detach())


class DropoutLeftOn(Dropout):
    """Dropout that does not care whether the model is in training."""

    def key(self, shape: tuple[int, ...], part: Part | None = None) -> DropoutKey | None:
        training, self.training = self.training, True
        try:
            return super().key(shape, part)
        finally:
            self.training = training


class UnbiasedLayerNorm(LayerNorm):
    """Divided by the unbiased deviation, with epsilon added outside the root."""

    def forward(self, x: Tensor) -> Tensor:
        xc = x - x.mean(axis=-1, keepdims=True)
        variance = (xc * xc).sum(axis=-1, keepdims=True) * (1.0 / (x.shape[-1] - 1))
        return self.weight * xc / (F.sqrt(variance) + self.eps) + self.bias


class EpsilonOutside(LayerNorm):
    """The biased deviation, but epsilon is added to it instead of to the variance."""

    def forward(self, x: Tensor) -> Tensor:
        xc = x - x.mean(axis=-1, keepdims=True)
        deviation = F.sqrt((xc * xc).mean(axis=-1, keepdims=True))
        return self.weight * xc / (deviation + self.eps) + self.bias


class ResidualOfParts(Residual):
    """A residual that calls its LayerNorm, whatever that is."""

    def forward(self, fx: Tensor, x: Tensor, only: Any = None) -> Tensor:
        h = self.dropout(self.dense(fx), only and only.of_states(x.shape[-1]))
        return x + h if self.pre_norm else self.LayerNorm(x + h)


def become(model: Any, kind: type[Module], instead_of: type[Module]) -> Any:
    """Make every module of one class one of another: the same parameters, another forward pass."""
    for module in model.modules():
        if type(module) is instead_of:
            module.__class__ = kind
    return model


def tied_by_copying(model: Any) -> Any:
    """The output layer starts with the numbers of the word embeddings, and goes its own way."""
    table = model.bert.embeddings.word_embeddings.weight
    model.cls.predictions.decoder.weight = Parameter(table.data.copy())
    model.name_parameters()
    return model


def unbiased_layer_norm(model: Any) -> Any:
    """Every layer normalisation uses the unbiased deviation."""
    return become(become(model, UnbiasedLayerNorm, LayerNorm), ResidualOfParts, Residual)


class Bug(NamedTuple):
    """How to plant it, the check of the doctor that must catch it, what it must say, and who else complains."""

    plant: Callable[[Any], Any]
    check: str
    says: str
    others: tuple[str, ...] = ()


def _model(kind: type[BertForPreTraining]) -> Callable[[Any], Any]:
    return lambda model: become(model, kind, BertForPreTraining)


CUT = "cut of the batch"
MODEL_BUGS = {
    "next-sentence loss ignores label 0": Bug(
        _model(PairLossIgnoresLabel0), "pair labels", "pairs labelled 0 (B follows A) alone have a loss of 0", (CUT,)),
    "masked loss averaged over padding": Bug(
        _model(MaskedLossOverPadding), "masked loss", "divided by all positions, padding too", (CUT, "padding")),
    "every position has a label": Bug(
        _model(EveryPositionHasALabel), "masked loss", "positions without a label", (CUT, "padding")),
    "inverted attention mask": Bug(
        _model(InvertedMask), "attention mask", "the model attends only to padding", ("padding",)),
    "attention mask lost": Bug(_model(NoMask), "attention mask", "the padding is read as text", ("padding",)),
    "embeddings cut from the graph": Bug(
        lambda model: become(model, CutEmbeddings, BertEmbeddings), "reachability",
        "no gradient reaches bert.embeddings.position_embeddings.weight", ("tied weights",)),
    "repeated tokens lost": Bug(
        lambda model: become(model, RepeatedTokensLost, Embedding), "repeated tokens",
        "only its last occurrence counts", (CUT, "padding", "reachability")),
    "dropout left on in evaluation": Bug(
        lambda model: become(model, DropoutLeftOn, Dropout), "evaluation mode",
        "dropout is still on in bert.embeddings.dropout"),
    "layer norm with the unbiased deviation": Bug(unbiased_layer_norm, "layer norm", "the deviation is the unbiased"),
    "layer norm with epsilon outside the root": Bug(
        lambda model: become(model, EpsilonOutside, LayerNorm), "layer norm", "epsilon is not added to the variance"),
    "tied by copying": Bug(tied_by_copying, "tied weights", "another parameter"),
}


def mean_of_means(model: Any, batch: Batch, parts: int = 3) -> None:
    """Accumulate gradients over parts of a batch as if all of them had equally many labels."""
    for rows in np.array_split(np.arange(len(batch["input_ids"])), parts):
        loss = model(**{name: array[rows] for name, array in batch.items()}).loss
        (loss * (1.0 / parts)).backward()


def negatives_that_are_positives(batches: Iterable[Batch], share: float = 0.2) -> Iterator[Batch]:
    """In a share of the pairs labelled 1 (random), the random sentence happens to be the true next one."""
    for number, batch in enumerate(batches):
        rng = np.random.default_rng(number)
        random, true = (np.flatnonzero(batch["next_sentence_label"] == label) for label in (1, 0))
        changed = {name: array.copy() for name, array in batch.items()}
        for row in random[rng.random(random.size) < share] if true.size else ():
            source = rng.choice(true)
            for name, array in changed.items():
                if name != "next_sentence_label":
                    array[row] = batch[name][source]
        yield changed
