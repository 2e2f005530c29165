"""Dropout whose choices follow from a seed, the training step and the place, and from nothing else."""

import threading

from minibert import functional as F
from minibert.errors import InputError
from minibert.nn.module import Module
from minibert.ops.dropout import DropoutKey, Part
from minibert.tensor import Tensor


class DropoutStream(threading.local):
    """Where training is: every dropout of a model reads its key here. Each thread has its own position."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0
        self.row = 0  # which example of the whole batch comes first in the next forward pass

    def __reduce__(self) -> tuple[type, tuple[int]]:
        """A copy begins at step 0 of the same stream: what a thread stores for itself cannot be copied."""
        return DropoutStream, (self.seed,)

    def seek(self, step: int, row: int = 0) -> None:
        """Make the next forward pass drop what belongs to this step, for a part of the batch from `row` on."""
        self.step, self.row = step, row

    def advance(self) -> None:
        """Go on to the next step; a model in training does so after every forward pass."""
        self.seek(self.step + 1)


class Dropout(Module):
    """Zero each number with probability p while training; do nothing otherwise."""

    def __init__(self, p: float) -> None:
        if not 0.0 <= p < 1.0:
            raise InputError(f"a dropout probability must be at least 0 and below 1, not {p}")
        self.p = p
        self.stream: DropoutStream | None = None
        self.site = 0

    def forward(self, x: Tensor, part: Part | None = None) -> Tensor:
        """Apply `minibert.ops.dropout.dropout`; of a part of an array, drop what would be dropped in the whole."""
        key = self.key(x.shape, part)
        return x if key is None else F.dropout(x, self.p, key)

    def key(self, shape: tuple[int, ...], part: Part | None = None) -> DropoutKey | None:
        """The key for an array of this shape, or for a part of one, examples first; None when nothing is dropped."""
        if not self.training or self.p == 0.0:
            return None
        if self.stream is None:
            raise InputError("this Dropout has no stream of random numbers: call seed_dropout(model, seed) once "
                             "after building the model")
        numbers_a_row = 1
        for n in (part.shape if part else shape)[1:]:
            numbers_a_row *= n
        return DropoutKey(self.stream.seed, self.stream.step, self.site, self.stream.row * numbers_a_row, part)


def stream_of(module: Module) -> DropoutStream | None:
    """Where the dropout inside `module` reads its keys; None when it has none, or was not seeded."""
    return next((m.stream for m in module.modules() if isinstance(m, Dropout)), None)


def seed_dropout(model: Module, seed: int) -> DropoutStream:
    """Give every Dropout of `model` its own site in one stream of random numbers, and return the stream."""
    if not 0 <= seed < 1 << 64:
        raise InputError(f"a seed must be an integer of 0 .. 2**64 - 1, not {seed}")
    stream = DropoutStream(seed)
    site = 0
    for module in model.modules():
        module.dropout_stream = None
        if isinstance(module, Dropout):
            module.stream, module.site = stream, site
            site += 1
    model.dropout_stream = stream
    return stream
