"""One training step of minibert on the CPU, exactly as pretraining takes it.

With `minibert.bench.gpu.step` this is all of the benchmark that knows how the model, the lanes and the optimiser are
called.
"""

import time
from contextlib import ExitStack
from typing import NamedTuple

from minibert.bench.shape import POSITIONS, Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.models import BertConfig, BertForPreTraining
from minibert.optim import AdamW, clip_scale, gradient_norm
from minibert.train.lanes import Lanes, single_threaded_blas
from minibert.train.micro_batch import choose_micro_batch

DROPOUT, CLIP, LEARNING_RATE = 0.1, 1.0, 1e-4


class Phases(NamedTuple):
    """Seconds that the parts of one step took."""

    gradients: float  # forward and backward of all micro-batches, and adding up their gradients
    clip: float  # the length of the whole gradient
    update: float  # AdamW


def model_config(shape: Shape) -> BertConfig:
    """The model that everybody trains."""
    return BertConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.width, max_position_embeddings=POSITIONS,
        hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT)


class TrainingStep:
    """A model, its optimiser and a batch; calling it takes one step.  `loss` is that of the last step."""

    def __init__(self, shape: Shape, threads: int, micro_batch: int | None = None, recompute: bool = False) -> None:
        """micro_batch: sequences computed at a time; None for what pretraining does.  recompute: less memory."""
        config = model_config(shape)
        self.micro_batch = min(micro_batch or choose_micro_batch(config, shape.batch, shape.length), shape.batch)
        self.batch = synthetic_batch(shape)
        self.model = BertForPreTraining(config).train()
        self.model.bert.encoder.recompute = recompute
        self.optimizer = AdamW(self.model.parameters(), LEARNING_RATE)
        self.lanes = Lanes(self.model, threads, self.micro_batch)
        self.loss = 0.0
        self._closing = ExitStack()
        self._closing.callback(self.lanes.close)
        self._closing.enter_context(single_threaded_blas())

    def __call__(self) -> Phases:
        """Forward, backward, clip, update."""
        start = time.perf_counter()
        sums = self.lanes.gradients(self.batch, self.optimizer.steps)
        computed = time.perf_counter()
        scale = clip_scale(gradient_norm(self.optimizer.parameters, self.lanes.map), CLIP)
        clipped = time.perf_counter()
        self.optimizer.step(scale, self.lanes.map)
        self.optimizer.zero_grad()
        self.loss = sums.masked_loss + sums.pair_loss
        return Phases(computed - start, clipped - computed, time.perf_counter() - clipped)

    def close(self) -> None:
        """End the lanes, and give BLAS its threads back."""
        self._closing.close()
