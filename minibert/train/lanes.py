"""Lanes: threads that each compute the gradients of whole micro-batches.

NumPy lets go of Python's lock while it computes, so two threads, each with one-threaded BLAS, keep two cores
busy with everything and not only with matrix products. Lanes share the weights; each has gradients of its
own, added up at the end in a fixed order. How many gradients there are depends on the batch and not on the
machine, so a run gives the same bits on any number of threads.
"""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl

from minibert.backend import Array
from minibert.models.pretraining import BertForPreTraining
from minibert.nn.module import Module
from minibert.ops.loss import IGNORE_INDEX

ACCUMULATORS = 4  # gradients that are kept at most; each serves every fourth micro-batch


@dataclass
class Sums:
    """What a batch, or a part of one, adds up to."""

    masked_loss: float = 0.0  # means over the whole batch's labels, so that parts add up
    pair_loss: float = 0.0
    masked: int = 0
    masked_right: int = 0
    pairs: Array = 0  # by class: (2,)
    pairs_right: Array = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


class Lanes:
    """Computes losses and gradients of `model` for batches of sentence pairs, on several threads."""

    def __init__(self, model: BertForPreTraining, threads: int, micro_batch: int) -> None:
        self.model, self.micro_batch = model, micro_batch
        self.replicas = [replica(model) for _ in range(ACCUMULATORS)]
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")

    def gradients(self, batch: dict[str, Array], step: int) -> Sums:
        """Set the gradient of every parameter of the model to that of the whole batch's loss."""
        parts = list(_cut(batch, self.micro_batch))
        lanes = min(ACCUMULATORS, len(parts))
        counts = {"masked_count": int((batch["labels"] != IGNORE_INDEX).sum()),
                  "pair_count": len(batch["input_ids"])}

        def run(lane: int) -> list[Sums]:
            return [self._part(self.replicas[lane], part, step, row, counts) for row, part in parts[lane::lanes]]

        sums = [s for lane in self.pool.map(run, range(lanes)) for s in lane]
        self._collect(self.replicas[:lanes])
        return sum(sums[1:], sums[0])

    def _part(self, model: BertForPreTraining, part: dict[str, Array], step: int, row: int,
              counts: dict[str, int]) -> Sums:
        """Forward and backward of one micro-batch, whose first example is number `row` of the batch."""
        stream = model.bert.dropout_stream
        assert stream is not None
        stream.seek(step, row)
        output = model(**part, **counts)
        assert output.loss is not None
        output.loss.backward()
        return tally(output, part)

    def _collect(self, replicas: list[BertForPreTraining]) -> None:
        """Add up the lanes' gradients into the model's, always in the same order, and forget them."""
        columns = zip(self.model.parameters(), *(r.parameters() for r in replicas), strict=True)

        def add(column: tuple[Any, ...]) -> None:
            target, *sources = column
            gradients = [p.grad for p in sources if p.grad is not None]
            for gradient in gradients[1:]:
                gradients[0] += gradient
            target.grad = gradients[0] if gradients else None
            for p in sources:
                p.grad = None

        list(self.pool.map(add, columns))

    def map(self, function: Callable[..., Any], *items: Any) -> list[Any]:
        """Apply `function` on the lanes' threads; results in order."""
        return list(self.pool.map(function, *items))

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()


def tally(output: Any, batch: dict[str, Array]) -> Sums:
    """Losses and numbers of right answers of one forward pass."""
    labels = batch["labels"].reshape(-1)
    labels = labels[labels != IGNORE_INDEX]
    answers, truth = output.seq_relationship_logits.data.argmax(-1), batch["next_sentence_label"]
    return Sums(output.masked_lm_loss.item(), output.next_sentence_loss.item(), labels.size,
                int((output.masked_lm_logits.data.argmax(-1) == labels).sum()),
                np.bincount(truth, minlength=2), np.bincount(truth[answers == truth], minlength=2))


def replica(model: Module) -> Any:
    """A copy of the model that shares its weights and dropout, and has gradients of its own."""
    shared: dict[int, Any] = {id(p.data): p.data for p in model.parameters()}
    shared |= {id(m.dropout_stream): m.dropout_stream for m in model.modules() if m.dropout_stream is not None}
    return copy.deepcopy(model, shared)


def _cut(batch: dict[str, Array], size: int) -> Iterator[tuple[int, dict[str, Array]]]:
    for row in range(0, len(batch["input_ids"]), size):
        yield row, {name: array[row:row + size] for name, array in batch.items()}


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Inside this block every matrix product runs on the thread that asked for it."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield
