"""Numbers on held-out text, and the floors they stand on."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array
from minibert.graph import no_grad
from minibert.models.pretraining import BertForPreTraining
from minibert.ops.loss import IGNORE_INDEX
from minibert.train.corpus import Documents, piece_counts
from minibert.train.lanes import Lanes, Sums, tally

EVALUATION_MASK_RATE = 0.15  # BERT's, whatever rate a run trains at, so that runs can be compared


class Floors(NamedTuple):
    """What a model reaches without reading the context, in nats."""

    chance: float  # ln V: every piece of the vocabulary equally likely
    unigram: float  # entropy of the held-out pieces: each as likely as it is frequent
    pair: float  # ln 2: next sentence or not, equally likely


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on a set of batches.  Losses in nats, accuracies between 0 and 1."""

    masked_loss: float
    masked_accuracy: float
    pair_loss: float
    pair_accuracy: float
    next_accuracy: float  # among the pairs in which B follows A
    random_accuracy: float  # among the pairs in which B comes from another document
    masked: int
    pairs: int

    @property
    def perplexity(self) -> float:
        """exp(masked loss): among how many equally likely pieces the model is in doubt."""
        return math.exp(min(self.masked_loss, 700.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, which has no NaN: None stands for what there was nothing to compute from."""
        values = {**asdict(self), "perplexity": self.perplexity}
        return {name: None if math.isnan(value) else value for name, value in values.items()}


def floors(documents: Documents, vocab_size: int) -> Floors:
    """The floors for a text, from how often each piece occurs in it."""
    counts = piece_counts(documents, vocab_size)
    p = counts[counts > 0] / counts.sum()
    return Floors(math.log(vocab_size), float(-(p * np.log(p)).sum()), math.log(2))


def summarise(sums: Sums) -> Evaluation:
    """Accuracies from counts; the losses are means already."""
    with np.errstate(invalid="ignore"):  # a class without a pair has no accuracy: NaN
        by_class = sums.pairs_right / sums.pairs
    pairs = int(sums.pairs.sum())
    return Evaluation(sums.masked_loss, sums.masked_right / max(sums.masked, 1), sums.pair_loss,
                      float(sums.pairs_right.sum()) / max(pairs, 1), float(by_class[0]), float(by_class[1]),
                      sums.masked, pairs)


def evaluate(model: BertForPreTraining, batches: Sequence[dict[str, Array]], lanes: Lanes | None = None) -> Evaluation:
    """Losses and accuracies over all batches, each label counting once; dropout is off."""
    counts = {"masked_count": sum(int((b["labels"] != IGNORE_INDEX).sum()) for b in batches),
              "pair_count": sum(len(b["input_ids"]) for b in batches)}

    def run(batch: dict[str, Array]) -> Sums:
        with no_grad():
            return tally(model(**batch, **counts, labelled_only=True), batch)

    training, _ = model.training, model.eval()
    try:
        parts = lanes.map(run, batches) if lanes else [run(batch) for batch in batches]
    finally:
        model.train(training)
    return summarise(sum(parts[1:], parts[0]))
