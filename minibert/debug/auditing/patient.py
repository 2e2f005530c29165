"""The model under examination: run as often as the checks like, and left as it was found."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError
from minibert.graph import no_grad
from minibert.nn.dropout import Dropout, DropoutStream
from minibert.nn.module import Module, Parameter
from minibert.ops.loss import IGNORE_INDEX
from minibert.tensor import Tensor

Batch = dict[str, Array]
Gradients = dict[str, Array]
EXAMPLES = 7  # odd, so that no equal parts of it are a whole batch
TOKENS = 32
ROOM = 3  # positions left free for more padding
GRIDS = ("input_ids", "token_type_ids", "attention_mask", "labels")


class Patient:
    """A model and a few short examples.  Create it inside `untouched`.

    exact: whether it computes in float64, so that slopes can be measured.
    """

    def __init__(self, model: Any, batch: Mapping[str, Any], exact: bool = False) -> None:
        self.model, self.exact = model, exact
        longest = getattr(getattr(model, "config", None), "max_position_embeddings", TOKENS + ROOM)
        self.batch = few_examples(whole_batch(batch), min(TOKENS, max(longest - ROOM, 2)))
        self.rng = np.random.default_rng(0)
        self.tolerance = 1e-9 if exact else 1e-3  # relative, between what must be equal
        self.visible = 1e-11 if exact else 1e-6  # what is called a change, beside 1
        self._dropout = [(m, m.p) for m in model.modules() if isinstance(m, Dropout)]

    @property
    def labelled(self) -> Array:
        """(B, T): where a word is to be predicted."""
        return self.batch["labels"] != IGNORE_INDEX

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.model.config.vocab_size)

    def reset(self) -> None:
        """No dropout, not even one that does not follow eval(); no gradients, the same random numbers."""
        for module, _ in self._dropout:
            module.p = 0.0
        self.model.eval()
        self.model.zero_grad()
        self.seek(0)
        self.rng = np.random.default_rng(0)

    def restore_dropout(self) -> bool:
        """Give dropout its probabilities back, until the next check; whether any is above 0."""
        for module, p in self._dropout:
            module.p = p
        return any(p > 0.0 for _, p in self._dropout)

    def seek(self, step: int) -> None:
        """Move dropout to a training step."""
        for stream in streams(self.model):
            stream.seek(step)

    def forward(self, batch: Batch | None = None, **options: Any) -> Any:
        """The model's output, with its graph."""
        return self.model(**(self.batch if batch is None else batch), **options)

    def outcome(self, batch: Batch | None = None) -> Any:
        """The model's output, without a graph."""
        with no_grad():
            return self.forward(batch)

    def learn(self, batch: Batch | None = None, **options: Any) -> tuple[float, Gradients]:
        """The loss and every parameter's gradient, 0 where there is none."""
        self.model.zero_grad()
        loss = self.forward(batch, **options).loss
        loss.backward()
        return loss.item(), self.take_gradients()

    def take_gradients(self) -> Gradients:
        """What the parameters' `grad` hold, which are emptied."""
        found = {name: np.zeros(p.shape, p.dtype) if p.grad is None else p.grad
                 for name, p in self.model.named_parameters()}
        self.model.zero_grad()
        return found

    def changed(self, **arrays: Array) -> Batch:
        """The examples with some arrays replaced."""
        return {**self.batch, **arrays}

    def padded(self) -> Batch:
        """The examples with as much more padding as the model's positions allow, up to ROOM."""
        longest = getattr(getattr(self.model, "config", None), "max_position_embeddings", TOKENS + ROOM)
        extra = min(ROOM, longest - self.batch["input_ids"].shape[1])
        pad = getattr(getattr(self.model, "config", None), "pad_token_id", 0)
        fill = {"input_ids": pad, "token_type_ids": 0, "attention_mask": 0, "labels": IGNORE_INDEX}
        return {name: np.pad(array, ((0, 0), (0, extra)), constant_values=fill[name]) if name in fill else array
                for name, array in self.batch.items()}


def is_a(module: Module, name: str) -> bool:
    """Whether a module is of a class with this in its name, or of one that is derived from such."""
    return any(name in kind.__name__ for kind in type(module).__mro__)


def whole_batch(batch: Mapping[str, Any]) -> Batch:
    """The five arrays of a pretraining batch.  Raises InputError when one is missing."""
    for name in ("input_ids", "labels", "next_sentence_label"):
        if batch.get(name) is None:
            raise InputError(f"the batch has no {name}: the doctor needs a pretraining batch with both kinds of "
                             f"labels, as PretrainingBatches makes them")
    ids = np.asarray(batch["input_ids"])
    given = {name: batch.get(name) for name in GRIDS}
    defaults = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    arrays = {name: np.asarray(defaults[name] if array is None else array) for name, array in given.items()}
    arrays["next_sentence_label"] = np.asarray(batch["next_sentence_label"])
    if ids.ndim != 2 or any(arrays[name].shape != ids.shape for name in GRIDS):
        raise InputError(f"the arrays of the batch do not fit together: input_ids has shape {ids.shape}, and "
                         f"{', '.join(f'{name} {arrays[name].shape}' for name in GRIDS[1:])}")
    return arrays


def few_examples(batch: Batch, columns: int) -> Batch:
    """Up to EXAMPLES examples, both kinds of pairs in turn, cut after `columns` tokens and after the longest.

    Raises InputError when none of these positions is labelled.
    """
    has_label = (batch["labels"][:, :columns] != IGNORE_INDEX).any(axis=1)
    pairs = batch["next_sentence_label"]
    turn = np.empty(len(pairs))
    for kind in np.unique(pairs):
        turn[pairs == kind] = np.arange((pairs == kind).sum())
    rows = np.lexsort((pairs, turn, ~has_label))[:EXAMPLES]
    if not has_label.any():
        raise InputError(f"no position among the first {columns} of the batch has a label: nothing is to be predicted")
    length = min(columns, int(np.flatnonzero(batch["attention_mask"][rows].any(axis=0)).max(initial=1)) + 1)
    return {name: array[rows, :length].copy() if array.ndim == 2 else array[rows].copy()
            for name, array in batch.items()}


def streams(model: Module) -> list[DropoutStream]:
    """Every stream of random numbers that the model's dropout reads."""
    found = {id(x): x for module in model.modules()
             for x in (getattr(module, "stream", None), module.dropout_stream) if isinstance(x, DropoutStream)}
    return list(found.values())


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Whatever happens inside, the model has its weights, gradients, modes and place in dropout afterwards."""
    parameters: list[Parameter] = list(model.parameters())
    before = [(p, p.data, p.data.copy(), p.grad, p.version) for p in parameters]
    modules = [(module, dict(vars(module))) for module in model.modules()]
    places = [(stream, stream.step, stream.row) for stream in streams(model)]
    try:
        model.zero_grad()
        for module, values in modules:
            if values.get("recompute") is True:
                module.recompute = False  # a recomputed layer shows nothing of its inside
        yield
    finally:
        for p, data, numbers, grad, version in before:
            if not np.array_equal(data, numbers):
                data[...] = numbers
            p.data, p.grad, p.version = data, grad, version
        for module, values in modules:
            vars(module).clear()
            vars(module).update(values)
        for stream, step, row in places:
            stream.seek(step, row)


def to_float64(model: Any) -> None:
    """Let the model compute in float64; call it inside `untouched`."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Parameter):
                value.data = value.data.astype(np.float64)
            elif isinstance(value, Tensor) and value.dtype.kind == "f":
                vars(module)[name] = Tensor(value.data.astype(np.float64), value.requires_grad, value.name)
            elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
                vars(module)[name] = value.astype(np.float64)


def worst(mine: Gradients, other: Gradients) -> tuple[str, float]:
    """The parameter whose gradients differ most, and by how much: beside its largest number, or the overall scale."""
    overall = max(float(np.abs(dx).max(initial=0.0)) for dx in other.values())
    errors = {name: float(np.abs(mine[name] - dx).max(initial=0.0)) /
              max(float(np.abs(dx).max(initial=0.0)), 1e-3 * overall, 1e-300) for name, dx in other.items()}
    name = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
    return name, errors[name]
