"""What can be changed in a training step before it is replayed.

A change is any function of the TrainingStep. These have names, say what they do, and check what they are given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from minibert.debug.replaying.training_step import TrainingStep
from minibert.errors import InputError
from minibert.nn import LayerNorm
from minibert.summary import shape_text

Change = Callable[[TrainingStep], object]


@dataclass(frozen=True)
class Token:
    """Another input token at a position of an example of the batch, both from 0; what is to be predicted stays.

    piece: a piece of the vocabulary, or its id.
    """

    example: int
    position: int
    piece: str | int

    def __call__(self, step: TrainingStep) -> None:
        """Raises InputError when there is no such place or piece."""
        ids = step.batch["input_ids"]
        if not (0 <= self.example < ids.shape[0] and 0 <= self.position < ids.shape[1]):
            raise InputError(f"the batch has examples 0 .. {ids.shape[0] - 1} with positions 0 .. {ids.shape[1] - 1}, "
                             f"and no position {self.position} of example {self.example}")
        tokenizer = step.loaded.tokenizer
        pieces = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
        if self.piece not in (pieces if isinstance(self.piece, str) else range(len(pieces))):
            raise InputError(f"{self.piece!r} is no piece of this run's vocabulary{_like(str(self.piece), pieces)}: "
                             f"see vocab.txt in its folder")
        ids[self.example, self.position] = pieces.index(self.piece) if isinstance(self.piece, str) else self.piece

    def __str__(self) -> str:
        return f"token {self.position} of example {self.example} = {self.piece}"


@dataclass(frozen=True)
class Weight:
    """Another number in a parameter: a new value, or a delta that is added.  name: as in model.named_parameters()."""

    name: str
    index: tuple[int, ...]
    value: float | None = None
    delta: float | None = None

    def __call__(self, step: TrainingStep) -> None:
        """Raises InputError when there is no such number, or when it is not exactly a value or a delta."""
        parameters = dict(step.model.named_parameters())
        if self.name not in parameters:
            raise InputError(f"this model has no parameter {self.name!r}{_like(self.name, list(parameters))}")
        if (self.value is None) is (self.delta is None):
            raise InputError(f"a change of {self.name} takes a value or a delta, one of the two")
        p = parameters[self.name]
        if len(self.index) != p.ndim or not all(0 <= i < n for i, n in zip(self.index, p.shape, strict=True)):
            raise InputError(f"{self.name} is {shape_text(p.shape)} and has no number at "
                             f"{','.join(map(str, self.index))}")
        data = p.data.copy()
        data[self.index] = self.value if self.delta is None else data[self.index] + self.delta
        p.assign(data)

    def __str__(self) -> str:
        change = f"= {self.value:g}" if self.value is not None else f"{self.delta:+g}"
        return f"{self.name}[{','.join(map(str, self.index))}] {change}"


@dataclass(frozen=True)
class LearningRate:
    """Another learning rate for this step."""

    lr: float

    def __call__(self, step: TrainingStep) -> None:
        """Raises InputError for a negative one, or none."""
        if not 0.0 <= self.lr < np.inf:
            raise InputError(f"a learning rate must be at least 0 and finite, not {self.lr}")
        step.optimizer.lr = self.lr

    def __str__(self) -> str:
        return f"learning rate = {self.lr:g}"


@dataclass(frozen=True)
class Eps:
    """Another epsilon in AdamW's division."""

    eps: float

    def __call__(self, step: TrainingStep) -> None:
        """Raises InputError unless it is above 0."""
        step.optimizer.eps = _positive(self.eps)

    def __str__(self) -> str:
        return f"AdamW's eps = {self.eps:g}"


@dataclass(frozen=True)
class LayerNormEps:
    """Another epsilon in every layer normalisation."""

    eps: float

    def __call__(self, step: TrainingStep) -> None:
        """Raises InputError unless it is above 0."""
        for module in step.model.modules():
            if isinstance(module, LayerNorm):
                module.eps = _positive(self.eps)

    def __str__(self) -> str:
        return f"layer normalisation's eps = {self.eps:g}"


def in_words(change: Change) -> str:
    """What to call a change."""
    return str(getattr(change, "__name__", change))


def _positive(eps: float) -> float:
    if not 0.0 < eps < np.inf:
        raise InputError(f"eps must be above 0 and finite, not {eps}")
    return eps


def _like(name: str, known: list[str]) -> str:
    """A question whether something similar was meant, where there is something similar."""
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
