"""Lanes: threads that each compute the gradients of whole micro-batches.

NumPy lets go of Python's lock while it computes, so two threads, each with one-threaded BLAS, keep two cores
busy with everything and not only with matrix products. The lanes share the model; the graph of a micro-batch
belongs to its thread. Gradients are added up in the order of the micro-batches, whichever is ready first, so a
run gives the same bits on any number of threads.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl

from minibert.backend import Array, device_of, to_device
from minibert.models.pretraining import BertForPreTraining
from minibert.nn.module import Parameter
from minibert.ops.loss import IGNORE_INDEX
from minibert.train.memory import reuse_freed_memory

AHEAD = 2  # micro-batches a thread may be ahead of the slowest one: their gradients wait, and take memory


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


class OrderedSum:
    """A sum of arrays in the order of their numbers 0, 1, 2, ..., whatever the order in which they arrive."""

    def __init__(self) -> None:
        self.total: Array | None = None
        self._turn = 0
        self._waiting: dict[int, Array | None] = {}
        self._lock = threading.Lock()

    def add(self, number: int, array: Array | None, free: bool = True) -> None:
        """Contribute `array`, or nothing; it may be kept and changed if it is `free`."""
        with self._lock:
            self._waiting[number] = array if free or array is None else array.copy()
            while self._turn in self._waiting:
                array = self._waiting.pop(self._turn)
                if self.total is None:
                    self.total = array
                elif array is not None:
                    self.total += array
                self._turn += 1


class Lanes:
    """Computes losses and gradients of `model` for batches of sentence pairs, on several threads."""

    def __init__(self, model: BertForPreTraining, threads: int, micro_batch: int) -> None:
        self.model, self.threads, self.micro_batch = model, threads, micro_batch
        self.parameters = list(model.parameters())
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")
        reuse_freed_memory()

    def gradients(self, batch: dict[str, Array], step: int) -> Sums:
        """Set the gradient of every parameter of the model to that of the whole batch's loss."""
        counts = {"masked_count": int((batch["labels"] != IGNORE_INDEX).sum()),
                  "pair_count": len(batch["input_ids"])}
        gradients = {p: OrderedSum() for p in self.parameters}
        parts: list[Future[Sums]] = []

        def run(number: int, row: int, part: dict[str, Array]) -> Sums:
            if number >= AHEAD * self.threads:
                parts[number - AHEAD * self.threads].result()
            return self._part(part, step, row, counts, number, gradients)

        try:
            for number, (row, part) in enumerate(cut_batch(batch, self.micro_batch)):
                parts.append(self.pool.submit(run, number, row, part))
            sums = [part.result() for part in parts]
        except BaseException:  # Ctrl-C among them: nobody wants the others any more
            for future in parts:
                future.cancel()
            raise
        for p, gradient in gradients.items():
            p.grad = gradient.total
        return sum(sums[1:], sums[0])

    def _part(self, part: dict[str, Array], step: int, row: int, counts: dict[str, int], number: int,
              gradients: dict[Parameter, OrderedSum]) -> Sums:
        """Forward and backward of micro-batch `number`, whose first example is number `row` of the batch."""
        stream = self.model.bert.dropout_stream
        assert stream is not None
        stream.seek(step, row)
        with np.errstate(all="ignore"):  # what overflows becomes a loss that is not a number, and stops the run
            return self._forward_and_backward(part, counts, number, gradients)

    def _forward_and_backward(self, part: dict[str, Array], counts: dict[str, int], number: int,
                              gradients: dict[Parameter, OrderedSum]) -> Sums:
        output = self.model(**part, **counts, labelled_only=True)
        assert output.loss is not None
        sums, loss, left = tally(output, part), output.loss, set(gradients)
        del output  # and with it the logits and states that backward does not need

        def collect(p: Any, gradient: Array, free: bool) -> None:
            gradients[p].add(number, gradient, free)
            left.remove(p)

        loss.backward(collect=collect)
        for p in left:  # what this part does not reach must not keep the others waiting
            gradients[p].add(number, None)
        return sums

    def map(self, function: Callable[..., Any], *items: Iterable[Any]) -> list[Any]:
        """Apply `function` on the lanes' threads; results in order."""
        return list(self.pool.map(function, *items))

    def close(self) -> None:
        """End the threads; what they have not begun is dropped."""
        self.pool.shutdown(cancel_futures=True)


def tally(output: Any, batch: dict[str, Array]) -> Sums:
    """Losses and numbers of right answers of one forward pass."""
    labels, classes = batch["labels"].reshape(-1), batch["next_sentence_label"]
    labels = labels[labels != IGNORE_INDEX]
    device = device_of(output.masked_lm_logits.data)
    right = right_answers(output, to_device(labels, device), to_device(classes, device))
    masked_right, *pairs_right = [int(number) for number in right]
    return Sums(output.masked_lm_loss.item(), output.next_sentence_loss.item(), labels.size, masked_right,
                np.bincount(classes, minlength=2), np.array(pairs_right))


def right_answers(output: Any, labels: Array, classes: Array) -> list[Array]:
    """How many masked words are guessed, and how many pairs of class 0 and of class 1 are told right."""
    masked, answers = (logits.data.argmax(-1) for logits in (output.masked_lm_logits, output.seq_relationship_logits))
    return [(masked == labels).sum(), *(((answers == c) & (classes == c)).sum() for c in (0, 1))]


def cut_batch(batch: dict[str, Array], size: int) -> Iterator[tuple[int, dict[str, Array]]]:
    """The fewest parts of at most `size` examples, as equal as can be, so that no lane has to wait long."""
    rows = len(batch["input_ids"])
    parts = -(-rows // size)
    ends = [rows * (i + 1) // parts for i in range(parts)]
    for row, end in zip([0, *ends], ends, strict=False):
        yield row, {name: array[row:end] for name, array in batch.items()}


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Inside this block every matrix product runs on the thread that asked for it."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield
