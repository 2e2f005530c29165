"""The batch and the step are those of pretraining."""

import math

import numpy as np
import pytest

from minibert.bench.shape import Shape
from minibert.bench.step import TrainingStep
from minibert.bench.synthetic import synthetic_batch
from minibert.errors import InputError
from minibert.ops.loss import IGNORE_INDEX

from .conftest import TINY


@pytest.mark.parametrize("shape", [TINY, Shape(1, 8, 1, 6, 1, 1), Shape(1, 8, 1, 40, 3, 37)], ids=str)
def test_a_batch_has_as_many_labels_in_every_sequence(shape: Shape) -> None:
    batch = synthetic_batch(shape)
    labelled = batch["labels"] != IGNORE_INDEX
    assert set(labelled.sum(1)) == {shape.masked // shape.batch}
    assert np.array_equal(batch["labels"][labelled], batch["input_ids"][labelled])
    assert batch["input_ids"].min() >= 5 and batch["input_ids"].max() < shape.vocabulary
    assert {array.shape for name, array in batch.items() if name != "next_sentence_label"} == {
        (shape.batch, shape.length)}
    assert all(np.array_equal(array, synthetic_batch(shape)[name]) for name, array in batch.items())


def test_fifteen_per_cent_of_the_positions_are_masked() -> None:
    assert Shape(length=128).masked == 32 * 19
    assert Shape(length=1).masked == 32


def test_a_step_learns() -> None:
    step = TrainingStep(TINY, 2, 3)
    phases = step()
    assert step.loss == pytest.approx(math.log(50) + math.log(2), abs=0.3)
    assert min(phases) > 0.0
    assert step.optimizer.steps == 1 and all(p.grad is None for p in step.model.parameters())
    first = step.loss
    for _ in range(30):
        step()
    assert step.loss < first
    step.close()


def test_the_micro_batch_is_at_most_the_batch() -> None:
    assert [TrainingStep(TINY, 1, size).micro_batch for size in (3, 100)] == [3, 4]
    assert 1 <= TrainingStep(TINY, 1).micro_batch <= 4


def test_a_preset_is_a_published_size() -> None:
    assert Shape.preset("base") == Shape(12, 768, 12, 30522, 16, 128)


@pytest.mark.parametrize("numbers", [(0, 16, 2, 50, 4, 8), (1, 16, 2, 50, 4, -8), (1, 16, 3, 50, 4, 8),
                                     (1, 16, 2, 50, 4, 513)])
def test_an_impossible_shape_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="--shape"):
        Shape(*numbers)
