"""One training step of minibert on a GPU, exactly as pretraining takes it, in each of the ways to compute it.

With `minibert.bench.step` this is all of the benchmark that knows how the model, its steps and the optimiser are
called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minibert.backend import room_on_gpu
from minibert.bench.gpu.ceilings import in_precision
from minibert.bench.gpu.memory import own_memory
from minibert.bench.shape import MASKED_SHARE, Shape
from minibert.bench.step import CLIP, LEARNING_RATE, model_config
from minibert.bench.synthetic import synthetic_batch
from minibert.models import BertForPreTraining
from minibert.ops.cuda.blas import WORKSPACE
from minibert.optim import AdamW
from minibert.train.black_box import BlackBox
from minibert.train.device_steps import DeviceSteps
from minibert.train.evaluation import evaluate
from minibert.train.run import RunFolder
from minibert.train.settings import PretrainSettings


@dataclass(frozen=True)
class Way:
    """How a step is computed.  precision: of matrix products; kernels: of our own, and not formulas; graph: recorded
    once and launched whole, and not operation by operation.
    """

    name: str
    precision: str = "float32"
    kernels: bool = True
    graph: bool = True


WAYS = (Way("plain formulas", kernels=False, graph=False), Way("kernels, one by one", graph=False),
        Way("kernels in a CUDA graph"), Way("the graph with TF32", "tf32"), Way("the graph with bfloat16", "bfloat16"))


class DeviceStep:
    """A model on the GPU, its optimiser and a batch; calling it asks for one step.  `device_step` makes one."""

    def __init__(self, shape: Shape, way: Way, settings: PretrainSettings, recompute: bool, run: Path, pool: Any,
                 steps: type[DeviceSteps]) -> None:
        self.batch, self.pool, self.number = synthetic_batch(shape), pool, 0
        model = new_model(shape).to("cuda", fast=way.kernels)
        self.loss = loss_of(model, self.batch)  # before the first step, without dropout
        pool.free_all_blocks()  # what only that needed
        model.bert.encoder.recompute = recompute
        optimizer = AdamW(model.parameters(), LEARNING_RATE)
        self.steps = steps(settings, model, optimizer, BlackBox(RunFolder(run), settings, model, optimizer), way.graph)

    def __call__(self) -> None:
        """Ask for one step."""
        self.steps.take(self.batch, self.number, LEARNING_RATE)
        self.number += 1

    def wait(self) -> list[float]:
        """Until all that was asked for is done: the losses of these steps.  Raises Diverged when one had to fail."""
        return [step.record.masked_loss + step.record.pair_loss for step in self.steps.finished()]

    @property
    def memory_mb(self) -> float:
        """MB of 10^6 bytes that were taken from the GPU so far, those of CUDA and its libraries not counted."""
        pools = [self.pool, *(graph.pool for graph in self.steps.graphs.graphs.values())]
        return 1e-6 * (WORKSPACE + sum(pool.total_bytes() for pool in pools))

    def close(self) -> None:
        """Wait for what was asked for, and forget everything that is on the GPU."""
        self.steps.close()
        del self.steps, self.pool


@contextmanager
def device_step(shape: Shape, way: Way, micro_batch: int | None = None, recompute: bool = False,
                steps: type[DeviceSteps] = DeviceSteps) -> Iterator[DeviceStep]:
    """A step of this way; what it needs of the GPU is free after the block.

    micro_batch: sequences computed at a time; None for all, as in pretraining.  recompute: less memory.  steps: what
    takes them.  Raises OutOfMemory when the GPU is too small.
    """
    settings = PretrainSettings(micro_batch=min(micro_batch or shape.batch, shape.batch), mask_rate=MASKED_SHARE,
                                clip=CLIP, precision=way.precision)
    with (room_on_gpu("choose a smaller --shape or --micro-batch"), TemporaryDirectory() as run, own_memory() as pool,
          in_precision(way.precision)):
        step = DeviceStep(shape, way, settings, recompute, Path(run), pool, steps)
        try:
            yield step
        finally:
            step.close()


def new_model(shape: Shape) -> BertForPreTraining:
    """The model that everybody begins with, on the CPU.

    Its weights keep the length of what they multiply, so that the loss depends on every part: with BERT's smaller
    ones a wrong attention would not show in it.
    """
    return BertForPreTraining(replace(model_config(shape), initializer_range=shape.hidden ** -0.5)).train()


def loss_of(model: BertForPreTraining, batch: dict[str, Any]) -> float:
    """The loss on a batch without dropout, which all who compute the same model agree on."""
    found = evaluate(model, [batch])
    return found.masked_loss + found.pair_loss
