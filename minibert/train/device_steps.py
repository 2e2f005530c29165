"""Taking training steps on a GPU, which the host asks for and does not wait for.

Whatever differs between two steps lies on the GPU, so a whole step is one CUDA graph: batch, step number, rates and
label counts come in one copy from pinned memory, and losses, norm and right answers stay there until they are read.
A step whose loss or gradient has come to grief, and all after it, leave the weights alone by themselves.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, cupy, to_host
from minibert.models.pretraining import BertForPreTraining
from minibert.ops.loss import IGNORE_INDEX
from minibert.optim import AdamW, clip_scale
from minibert.train.arena import Arena
from minibert.train.black_box import BlackBox, StepRecord
from minibert.train.device_batch import DeviceBatch, Layout
from minibert.train.evaluation import Evaluation, evaluate
from minibert.train.lanes import Sums, right_answers
from minibert.train.settings import PretrainSettings
from minibert.train.steps import Finished

UNREAD = 10  # steps whose numbers may wait on the GPU
MASKED_LOSS, PAIR_LOSS, MASKED_RIGHT, PAIRS_RIGHT, NORM, NUMBERS = 0, 1, 2, slice(3, 5), 5, 6  # of a step


class Asked(NamedTuple):
    """A step that was asked for, and what the host knows of it."""

    number: int
    lr: float
    limit: float
    masked: int
    pairs: Array
    tokens: int


class DeviceSteps:
    """Updates of the weights on a GPU.  The model must be there, and takes its parameters from an `Arena` from now on.

    graphs: whether steps are recorded and launched whole; otherwise each operation is called each time, as for a model
    that computes plain formulas (`Module.to` with fast=False), which look at numbers and so wait for them.
    """

    def __init__(self, settings: PretrainSettings, model: BertForPreTraining, optimizer: AdamW, black_box: BlackBox,
                 graphs: bool = True) -> None:
        from minibert.ops.cuda.blas import precision, set_precision
        from minibert.ops.cuda.graph import Graphs

        self.settings, self.model, self.optimizer, self.black_box = settings, model, optimizer, black_box
        self.arena = Arena(optimizer)
        self.graphs = Graphs(graphs and model.fast)
        self.layouts: dict[Layout, DeviceBatch] = {}
        xp = cupy()
        xp.get_default_memory_pool().free_all_blocks()  # where weights and moments were before
        self.numbers = xp.zeros(NUMBERS, np.float32)  # of the step that is computed
        self.unread = xp.zeros((UNREAD, NUMBERS), np.float32)
        self.halted = xp.zeros(1, np.int32)
        self.asked: list[Asked] = []
        self.limit = black_box.limit()  # renewed whenever numbers are read, so up to UNREAD steps old
        xp.cuda.get_current_stream().synchronize()  # what has filled the arena may be in another stream than the steps
        self._finished: list[Finished] = []
        self._closing = ExitStack()
        self._closing.callback(set_precision, precision())
        set_precision(settings.precision)
        self._pool = self._closing.enter_context(ThreadPoolExecutor(1, thread_name_prefix="batches"))

    def take(self, batch: dict[str, Array], number: int, lr: float) -> None:
        """Ask for one update of the weights, with batch `number`.  Raises Diverged when an earlier one had to fail."""
        self.optimizer.lr, self.optimizer.steps = lr, number + 1
        layout = Layout.of(batch, self.settings)
        if layout not in self.layouts:
            self.layouts[layout] = DeviceBatch(layout, batch, UNREAD + 1)
        here = self.layouts[layout]
        here.fill(batch, number, self.optimizer.rates(), self.limit, self.graphs.stream)
        self.graphs.run(layout, lambda: self._compute(here))
        row = self.unread[len(self.asked)]
        row.data.copy_from_device_async(self.numbers.data, row.nbytes, self.graphs.stream)
        labels, classes = batch["labels"], batch["next_sentence_label"]
        self.asked.append(Asked(number, lr, self.limit, int((labels != IGNORE_INDEX).sum()),
                                np.bincount(classes, minlength=2), int(batch["attention_mask"].sum())))
        if len(self.asked) == UNREAD:
            self._read()

    def _compute(self, batch: DeviceBatch) -> None:
        """Everything that a step does on the GPU; no line of it looks at a number."""
        stream, x = self.model.bert.dropout_stream, batch.arrays
        assert stream is not None
        step = x["step"] if self.model.fast else self.optimizer.steps - 1  # what draws on the host needs it there
        totals: list[Array] = []
        for row, inputs in batch.parts():
            stream.seek(step, row)
            output = self.model(**inputs, pair_count=batch.layout.examples)
            assert output.loss is not None
            found = [output.masked_lm_loss.data, output.next_sentence_loss.data,
                     *right_answers(output, inputs["labels"].labels, inputs["next_sentence_label"])]
            output.loss.backward(collect=self.arena.collector(add=bool(totals)))
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
        for place, total in enumerate(totals):
            self.numbers[place] = total
        self._update(x["rates"], x["limit"])

    def _update(self, rates: Array, limit: Array) -> None:
        """Clipping, and AdamW, unless the step has come to grief."""
        from minibert.ops.cuda.optimizer import adamw, norm_and_clip

        arena, optimizer = self.arena, self.optimizer
        norm_and_clip(arena.g, self.settings.clip, limit, self.numbers[:2], self.numbers[NORM:], rates[3:], self.halted)
        adamw(arena.w, arena.g, arena.m, arena.v, rates, arena.decayed, optimizer.betas, optimizer.eps,
              optimizer.weight_decay)

    def _read(self) -> None:
        """Wait for the steps that were asked for, and look at their numbers in turn."""
        self.graphs.wait()
        asked, self.asked = self.asked, []
        for (number, lr, limit, masked, pairs, tokens), found in zip(asked, to_host(self.unread), strict=False):
            masked_loss, pair_loss, norm = (float(found[place]) for place in (MASKED_LOSS, PAIR_LOSS, NORM))
            record = StepRecord(number + 1, number, masked_loss, pair_loss, norm, lr,
                                clip_scale(norm, self.settings.clip))
            if self.black_box.what_is_wrong(record, limit):
                self.optimizer.steps = number  # the weights and moments have stayed as they were before it
            self.black_box.watch(record, limit)
            sums = Sums(masked_loss, pair_loss, masked, int(found[MASKED_RIGHT]), pairs,
                        found[PAIRS_RIGHT].astype(np.int64))
            self._finished.append(Finished(record, sums, tokens))
        self.limit = float(np.float32(self.black_box.limit()))

    def finished(self) -> list[Finished]:
        """The steps taken since this was last asked; waits for them.  Raises Diverged when one of them had to fail."""
        if self.asked:
            self._read()
        finished, self._finished = self._finished, []
        return finished

    def evaluate(self, batches: Sequence[dict[str, Array]]) -> Evaluation:
        """Numbers on these batches, with the weights of now."""
        return evaluate(self.model, batches)

    def soon(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """function(*args), computed beside the steps."""
        return self._pool.submit(function, *args)

    def close(self) -> None:
        """Wait for what was asked for, and end the thread that makes batches."""
        stream = self.model.bert.dropout_stream
        assert stream is not None
        stream.seek(self.optimizer.steps)  # a number of the host's again
        with self._closing:
            self.graphs.wait()
