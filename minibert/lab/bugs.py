"""The bug lab: twelve faults that real BERTs and real engines had, each planted for as long as one looks for it.

    with planted(3) as patient:              a small BERT, its batches, and the fault, alive inside the block
        print(bisect(patient.loss, patient.model))

Number 0 is the same patient in good health.  Whoever wants to find the faults does not read on.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from typing import Any

import numpy as np

from minibert import functional as F
from minibert import graph
from minibert.backend import Array
from minibert.errors import InputError
from minibert.lab.patient import Batch, Patient
from minibert.lab.swapping import swapped
from minibert.models import BertForPreTraining
from minibert.models.bert import BertEmbeddings
from minibert.models.pretraining import PreTrainingOutput
from minibert.nn import Dropout, LayerNorm, Module
from minibert.ops.dropout import DropoutKey, Part
from minibert.ops.loss import IGNORE_INDEX
from minibert.ops.registry import REGISTRY
from minibert.tensor import Tensor
from minibert.text.pairs import IS_NEXT, IS_RANDOM

Undo = ExitStack  # what is entered here is taken back at the end of the block


# ------------------------------------------------------------------------------------------------------------- models
class PairsOfOneKind(BertForPreTraining):
    """1: what says "no word to guess here", taken to be 0, is used for the pairs as well."""

    def forward(self, *args: Any, next_sentence_label: Any = None, **options: Any) -> PreTrainingOutput:
        pairs = next_sentence_label
        pairs = None if pairs is None else np.where(np.asarray(pairs) == 0, IGNORE_INDEX, pairs)
        return super().forward(*args, next_sentence_label=pairs, **options)


class DividedByPositions(BertForPreTraining):
    """2: the surprise at the masked words is spread over the whole rectangle of the batch."""

    def forward(self, input_ids: Any, *args: Any, masked_count: int | None = None, **options: Any
                ) -> PreTrainingOutput:
        return super().forward(input_ids, *args, masked_count=masked_count or int(np.size(input_ids)), **options)


class MaskUpsideDown(BertForPreTraining):
    """5: one library's mask says where to look, and another's where not to."""

    def forward(self, input_ids: Any, token_type_ids: Any = None, attention_mask: Any = None, **options: Any
                ) -> PreTrainingOutput:
        mask = None if attention_mask is None else 1 - np.asarray(attention_mask)
        return super().forward(input_ids, token_type_ids, mask, **options)


class Rewrapped(BertEmbeddings):
    """8: the embeddings are put into a new tensor, as one does to convert or to move them."""

    def forward(self, input_ids: Array, token_type_ids: Array) -> Tensor:
        return Tensor(super().forward(input_ids, token_type_ids).data, requires_grad=True)


class AlwaysOn(Dropout):
    """11: it never asks whether the model is training."""

    def key(self, shape: tuple[int, ...], part: Part | None = None) -> DropoutKey | None:
        training, self.training = self.training, True
        try:
            return super().key(shape, part)
        finally:
            self.training = training


class SampleDeviation(LayerNorm):
    """12: the deviation as a library of statistics has it by default, divided by H - 1."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).sum(axis=-1, keepdims=True) * (1.0 / (x.shape[-1] - 1))
        return self.weight * centred / F.sqrt(variance + self.eps) + self.bias


class FromParts(LayerNorm):
    """No fault: layer normalisation as a beginner writes it, so that there is a `mean` in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(axis=-1, keepdims=True)
        return self.weight * centred / F.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self.eps) + self.bias


def become(module: Module, kind: type[Module]) -> None:
    """Let a module be of another class: the same parameters, another forward pass."""
    module.__class__ = kind


def _model(kind: type[BertForPreTraining]) -> Callable[[Patient, Undo], None]:
    return lambda patient, undo: become(patient.model, kind)


def _rewrapped(patient: Patient, undo: Undo) -> None:
    become(patient.model.bert.embeddings, Rewrapped)


def _always_on(patient: Patient, undo: Undo) -> None:
    layer: Any = patient.model.bert.encoder.layer[1]
    become(layer.output.dropout, AlwaysOn)


def _sample_deviation(patient: Patient, undo: Undo) -> None:
    become(patient.model.cls.predictions.transform.LayerNorm, SampleDeviation)


# ------------------------------------------------------------------------------------------------------------- engine
def _last_one_wins(patient: Patient, undo: Undo) -> None:
    """3: rows are assigned where they should be added."""
    def backward(dy: Array, ids: Array, table_shape: tuple) -> tuple[Array]:
        dtable = np.zeros(table_shape, dy.dtype)
        dtable[ids] = dy
        return (dtable,)
    undo.enter_context(swapped("embedding", backward))


def _overwritten(patient: Patient, undo: Undo) -> None:
    """4: a gradient that comes in takes the place of the one that was there."""
    def add(pending: dict[Any, Array], owned: set[Any], x: Any, dx: Array, shared: bool) -> None:
        pending[x] = dx
    undo.callback(setattr, graph, "_add", graph._add)
    setattr(graph, "_add", add)  # noqa: B010


def _first_example(patient: Patient, undo: Undo) -> None:
    """6: what was stretched over the batch gets back what its first example sends."""
    def backward(dz: Array, x_shape: tuple, y_shape: tuple) -> tuple[Array, Array]:
        return dz, dz if y_shape == dz.shape else dz.reshape(-1, *y_shape)[0]
    undo.enter_context(swapped("add", backward))


def _whole_array(patient: Patient, undo: Undo) -> None:
    """7: the mean of a row, differentiated as if it were the mean of everything."""
    true = REGISTRY["mean"].backward

    def backward(dy: Array, *saved: Any) -> tuple[Array]:
        dx, = true(dy, *saved)
        return (dx * (dx.shape[-1] / dx.size),)
    become(patient.model.cls.predictions.transform.LayerNorm, FromParts)
    become(patient.model.bert.embeddings.LayerNorm, FromParts)
    undo.enter_context(swapped("mean", backward))


# --------------------------------------------------------------------------------------------------- data and training
def _unlucky_draws(patient: Patient, undo: Undo) -> None:
    """9: a "random" sentence is drawn from all sentences, the true next one among them; here rather often."""
    patient.batches = [_with_true_sentences(batch, number) for number, batch in enumerate(patient.batches)]


def _with_true_sentences(batch: Batch, seed: int, share: float = 0.4) -> Batch:
    """In a share of the rows labelled random, another row's true pair."""
    rng = np.random.default_rng(seed)
    random, true = (np.flatnonzero(batch["next_sentence_label"] == label) for label in (IS_RANDOM, IS_NEXT))
    source = np.arange(len(batch["input_ids"]))
    chosen = random[rng.random(random.size) < share]
    source[chosen] = rng.choice(true, chosen.size)
    return {name: array if name == "next_sentence_label" else array[source] for name, array in batch.items()}


def _equal_parts(patient: Patient, undo: Undo) -> None:
    """10: the batch is cut into parts, and each part's mean loss counts the same."""
    def gradients(model: Any, batch: Batch, parts: int = 4) -> None:
        for rows in np.array_split(np.arange(len(batch["input_ids"])), parts):
            loss = model(**{name: array[rows] for name, array in batch.items()}).loss
            (loss * (1.0 / parts)).backward()
    patient.gradients = gradients


def _healthy(patient: Patient, undo: Undo) -> None:
    """0: nothing."""


PLANT: tuple[Callable[[Patient, Undo], None], ...] = (
    _healthy, _model(PairsOfOneKind), _model(DividedByPositions), _last_one_wins, _overwritten,
    _model(MaskUpsideDown), _first_example, _whole_array, _rewrapped, _unlucky_draws, _equal_parts, _always_on,
    _sample_deviation)


@contextmanager
def planted(number: int) -> Iterator[Patient]:
    """Inside the block the fault of this number is alive, in the patient or in the engine; afterwards it is gone.

    Raises InputError when there is no such number: 1 to 12, and 0 for the patient in good health.
    """
    if number not in range(len(PLANT)):
        raise InputError(f"there is no bug {number!r}: the lab has 1 to {len(PLANT) - 1}, and 0 for none")
    with ExitStack() as undo:
        patient = Patient.healthy()
        PLANT[number](patient, undo)
        yield patient


def curve(number: int, steps: int = 40) -> list[float]:
    """What one sees who only looks at the loss: that of every step of a training run with this bug."""
    with planted(number) as patient:
        return [patient.train_step(batch) for batch in islice(cycle(patient.batches), steps)]
