"""Dropout's stream: one step a training forward of the root, the same masks however a batch is cut."""

import threading
from typing import Any

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.nn import Dropout, EncoderLayer, Initializer, Module, ModuleList, seed_dropout
from minibert.tensor import Tensor

ONES = np.ones((6, 4, 5))


class Model(Module):
    """Three dropouts, one of them inside a child."""

    def __init__(self, p: float = 0.5) -> None:
        self.layers = ModuleList([Dropout(p), Nested(p)])
        self.last = Dropout(p)

    def forward(self, x: Tensor) -> list[Any]:
        return [self.layers[0](x).data, self.layers[1](x).data, self.last(x).data]


class Nested(Module):
    def __init__(self, p: float) -> None:
        self.dropout = Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x)


def run(model: Module, x: Any = ONES) -> Any:
    return np.array(model(Tensor(x)))


def test_each_training_forward_of_the_root_is_one_step() -> None:
    model = Model()
    stream = seed_dropout(model, 7)
    first = run(model)
    assert stream.step == 1
    second = run(model)
    assert stream.step == 2
    assert 0.4 < (first == second).mean() < 0.6  # by chance
    model.layers[1](Tensor(ONES))  # a part of the model alone
    assert stream.step == 2


def test_seeking_a_step_replays_it() -> None:
    model = Model()
    stream = seed_dropout(model, 7)
    steps = [run(model) for _ in range(3)]
    stream.seek(1)
    np.testing.assert_array_equal(run(model), steps[1])
    np.testing.assert_array_equal(run(model), steps[2])


def test_seeds_and_sites_differ_and_equal_seeds_agree() -> None:
    one, same, other = Model(), Model(), Model()
    for model, seed in ((one, 7), (same, 7), (other, 8)):
        seed_dropout(model, seed)
    y = run(one)
    np.testing.assert_array_equal(y, run(same))
    assert 0.4 < (y == run(other)).mean() < 0.6
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.3 < (y[a] == y[b]).mean() < 0.7
    assert [m.site for m in one.modules() if isinstance(m, Dropout)] == [0, 1, 2]


@pytest.mark.parametrize("cuts", [[3], [1, 2, 3, 4, 5], [5]])
def test_masks_do_not_depend_on_how_the_batch_is_cut(cuts: list[int]) -> None:
    model = Model(0.3)
    stream = seed_dropout(model, 7)
    stream.seek(4)
    whole = run(model)
    parts = []
    for row, part in zip([0, *cuts], np.split(ONES, cuts), strict=True):
        stream.seek(4, row)
        parts.append(run(model, part))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_the_next_step_starts_at_the_first_example_again() -> None:
    model = Model()
    stream = seed_dropout(model, 7)
    run(model)
    second = run(model)
    stream.seek(0, row=3)
    run(model)
    assert (stream.step, stream.row) == (1, 0)
    np.testing.assert_array_equal(run(model), second)


def test_a_batch_in_parts_gives_the_same_gradient() -> None:
    """Attention's dropout included, whose rows are examples times heads times queries."""
    layer = EncoderLayer(6, 2, 7, "gelu", 0.3, 0.2, False, 1e-12, Initializer(1, 0.5, np.float64))
    stream = seed_dropout(layer, 3)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((5, 4, 6)), rng.standard_normal((5, 4, 6))
    gradients = []
    for rows in ([slice(0, 5)], [slice(0, 2), slice(2, 5)], [slice(i, i + 1) for i in range(5)]):
        layer.zero_grad()
        for part in rows:
            stream.seek(9, part.start)
            layer(Tensor(x[part])).backward(dy[part])
        gradients.append([p.grad for p in layer.parameters()])
    for whole, halves, single in zip(*gradients, strict=True):
        np.testing.assert_allclose(halves, whole, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(single, whole, rtol=1e-10, atol=1e-13)


def test_nothing_is_dropped_in_evaluation_and_no_step_is_taken() -> None:
    model = Model()
    stream = seed_dropout(model, 7)
    assert model.eval() is model
    np.testing.assert_array_equal(run(model), [ONES] * 3)
    assert stream.step == 0
    model.train()
    assert (run(model) == 0).any() and stream.step == 1


def test_probability_zero_drops_nothing_and_needs_no_stream() -> None:
    x = Tensor(ONES)
    assert Dropout(0.0)(x) is x


def test_a_dropout_without_a_stream_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"no stream of random numbers: call seed_dropout\(model, seed\)"):
        Dropout(0.1)(Tensor(ONES))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_wrong_probabilities_are_refused(p: float) -> None:
    with pytest.raises(InputError, match="a dropout probability must be at least 0 and below 1"):
        Dropout(p)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_wrong_seeds_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"a seed must be an integer of 0 .. 2\\*\\*64 - 1, not {seed}"):
        seed_dropout(Model(), seed)


def test_the_largest_seed_works_and_is_not_rounded() -> None:
    models = []
    for seed in (2**64 - 1, 2**64 - 2):
        models.append(Model())
        seed_dropout(models[-1], seed)
    assert 0.4 < (run(models[0]) == run(models[1])).mean() < 0.6


def test_only_the_last_seeded_root_advances() -> None:
    """A model inside a larger one takes no steps of its own once the larger one was seeded."""
    outer = Model()
    inner = seed_dropout(outer.layers[1], 1)
    stream = seed_dropout(outer, 2)
    run(outer)
    assert (stream.step, inner.step) == (1, 0)


def test_each_thread_has_its_own_position() -> None:
    model = Model()
    stream = seed_dropout(model, 7)
    stream.seek(5)
    seen = []

    def lane() -> None:
        seen.append((stream.seed, stream.step))
        stream.seek(5)
        seen.append(run(model))
    thread = threading.Thread(target=lane)
    thread.start()
    thread.join()
    assert seen[0] == (7, 0) and stream.step == 5
    np.testing.assert_array_equal(run(model), seen[1])
