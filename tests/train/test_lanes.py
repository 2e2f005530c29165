"""Lanes: however a batch is cut and on however many threads, the gradient is that of the whole batch."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from minibert.backend import Array
from minibert.errors import InputError
from minibert.models import BertForPreTraining
from minibert.nn import Parameter
from minibert.ops.loss import IGNORE_INDEX
from minibert.text.batches import PretrainingBatches
from minibert.train.lanes import Lanes, OrderedSum, Sums, cut_batch, single_threaded_blas, tally
from minibert.train.loop import Trainer
from minibert.train.pretrain import Loaded, resume

from . import tiny

STEP = 11


@pytest.fixture(scope="module")
def batch(prepared: Path) -> dict[str, Array]:
    """Ten real sentence pairs, padded, of which the fourth has nothing to predict."""
    loaded = Loaded.read(prepared)
    s = loaded.settings
    batch = PretrainingBatches(loaded.corpus.train, loaded.tokenizer, s.batch, s.length, s.seed).batch(STEP)
    batch["labels"][3] = IGNORE_INDEX
    assert not batch["attention_mask"].all() and len(set(batch["next_sentence_label"])) == 2
    return batch


@pytest.fixture
def model(prepared: Path) -> BertForPreTraining:
    """In float64 and with dropout."""
    loaded = Loaded.read(prepared)
    return BertForPreTraining(loaded.settings.model_config(loaded.tokenizer.vocab_size), seed=3, dtype=np.float64)


@pytest.fixture
def lanes(model: BertForPreTraining) -> Iterator[Lanes]:
    lanes = Lanes(model, threads=2, micro_batch=3)
    yield lanes
    lanes.close()


def whole(model: BertForPreTraining, batch: dict[str, Array]) -> tuple[dict[str, Array], Sums]:
    """Gradients and sums of one plain forward and backward pass."""
    assert model.bert.dropout_stream is not None
    model.zero_grad()
    model.bert.dropout_stream.seek(STEP)
    output = model(**batch)
    assert output.loss is not None
    output.loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    return gradients, tally(output, batch)


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 7, 10, 16])
@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_are_those_of_the_whole_batch(micro_batch: int, threads: int, model: BertForPreTraining,
                                                batch: dict[str, Array]) -> None:
    expected, sums = whole(model, batch)
    lanes = Lanes(model, threads, micro_batch)
    for _ in range(2):  # the second time must not find anything of the first
        got = lanes.gradients(batch, STEP)
        for name, p in model.named_parameters():
            assert p.grad is not None
            np.testing.assert_allclose(p.grad, expected[name], rtol=1e-10, atol=1e-12, err_msg=name)
        assert got.masked_loss == pytest.approx(sums.masked_loss, rel=1e-12)
        assert got.pair_loss == pytest.approx(sums.pair_loss, rel=1e-12)
        assert (got.masked, got.masked_right) == (sums.masked, sums.masked_right)
        assert got.pairs.tolist() == sums.pairs.tolist() and got.pairs_right.tolist() == sums.pairs_right.tolist()
    lanes.close()


def test_dropout_is_on_and_follows_the_step(lanes: Lanes, model: BertForPreTraining, batch: dict[str, Array]) -> None:
    losses = [lanes.gradients(batch, step).masked_loss for step in (STEP, STEP + 1, STEP)]
    assert losses[0] == losses[2] != losses[1]


def test_a_tally_counts_every_label_and_pair(model: BertForPreTraining, batch: dict[str, Array]) -> None:
    model.eval()
    output = model(**batch)
    sums = tally(output, batch)
    logits, labels = output.prediction_logits.data, batch["labels"]
    places = [(b, t) for b in range(10) for t in range(labels.shape[1]) if labels[b, t] != IGNORE_INDEX]
    assert sums.masked == len(places) > 10
    assert sums.masked_right == sum(int(np.argmax(logits[b, t])) == labels[b, t] for b, t in places)
    answers = np.argmax(output.seq_relationship_logits.data, axis=1).tolist()
    truth = batch["next_sentence_label"].tolist()
    assert sums.pairs.tolist() == [truth.count(0), truth.count(1)]
    right = [true for true, answer in zip(truth, answers, strict=True) if true == answer]
    assert sums.pairs_right.tolist() == [right.count(0), right.count(1)]
    assert sums.masked_loss == output.masked_lm_loss.item() and sums.pair_loss == output.next_sentence_loss.item()


def test_a_right_answer_is_counted_as_right(model: BertForPreTraining, batch: dict[str, Array]) -> None:
    """An untrained model is hardly ever right, so its biases are set to know one answer."""
    piece = int(batch["labels"][batch["labels"] != IGNORE_INDEX][0])
    model.cls.predictions.bias.data[piece] = 1e3
    model.cls.seq_relationship.bias.data[1] = 1e3
    sums = tally(model.eval()(**batch), batch)
    assert sums.masked_right == (batch["labels"] == piece).sum() > 0
    assert sums.pairs_right.tolist() == [0, sums.pairs[1]]


@pytest.mark.parametrize(("size", "sizes"), [(4, [3, 3, 4]), (10, [10]), (99, [10]), (6, [5, 5]), (1, [1] * 10)])
def test_parts_are_as_equal_as_can_be_and_in_order(size: int, sizes: list[int], batch: dict[str, Array]) -> None:
    parts = list(cut_batch(batch, size))
    assert [len(part["labels"]) for _, part in parts] == sizes
    assert [row for row, _ in parts] == [sum(sizes[:i]) for i in range(len(sizes))]
    for name, array in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for _, part in parts]), array)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_a_sum_has_the_same_bits_whatever_comes_first(order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    arrays = [(10.0 ** rng.integers(-8, 9, 101)).astype(np.float32) * rng.standard_normal(101).astype(np.float32)
              for _ in range(3)]
    arrays.insert(1, None)  # one that contributes nothing
    expected = (arrays[0] + arrays[2]) + arrays[3]
    total = OrderedSum()
    for number in order:
        total.add(number, None if arrays[number] is None else arrays[number].copy())
    np.testing.assert_array_equal(total.total, expected)
    assert any((a + b != b + a).any() or ((arrays[3] + arrays[2]) + arrays[0] != expected).any()
               for a, b in [(arrays[0], arrays[2])])


def test_a_sum_waits_for_its_turn_and_copies_what_is_not_free() -> None:
    total, theirs = OrderedSum(), np.ones(3)
    total.add(1, np.full(3, 2.0))
    assert total.total is None
    total.add(0, theirs, free=False)
    total.add(2, np.full(3, 4.0))
    np.testing.assert_array_equal(total.total, np.full(3, 7.0))
    np.testing.assert_array_equal(theirs, np.ones(3))


def test_a_parameter_that_no_part_reaches_has_no_gradient(lanes: Lanes, model: BertForPreTraining,
                                                          batch: dict[str, Array]) -> None:
    unused = Parameter(np.zeros(3))
    model.cls.unused = unused
    more = Lanes(model, threads=2, micro_batch=3)
    more.gradients(batch, STEP)
    assert unused.grad is None and model.cls.predictions.bias.grad is not None
    more.close()


@pytest.mark.parametrize("without", [0, 2])
def test_a_parameter_that_some_part_does_not_reach_gets_the_sum_of_the_others(
        without: int, model: BertForPreTraining, batch: dict[str, Array]) -> None:
    gate, forward = Parameter(np.zeros(3)), model.forward
    model.cls.gate = gate
    first = next(part for number, (_, part) in enumerate(cut_batch(batch, 3)) if number == without)["input_ids"][0]

    def gated(input_ids: Array, **others: Any) -> Any:
        output = forward(input_ids, **others)
        if not np.array_equal(input_ids[0], first):
            output.loss = output.loss + (gate * 2.0).sum()
        return output

    model.forward = gated
    more = Lanes(model, threads=2, micro_batch=3)
    more.gradients(batch, STEP)
    assert gate.grad.tolist() == [6.0, 6.0, 6.0], "three of the four parts"
    more.close()


def test_recomputation_in_lanes_changes_no_bit(model: BertForPreTraining, batch: dict[str, Array]) -> None:
    """Every thread has its own place in the stream of dropout, and comes back to it."""
    found = []
    for model.bert.encoder.recompute in (False, True):
        lanes = Lanes(model, threads=3, micro_batch=2)
        sums = lanes.gradients(batch, STEP)
        found.append([sums.masked_loss, *(p.grad for p in model.parameters())])
        lanes.close()
    for once, twice in zip(*found, strict=True):
        np.testing.assert_array_equal(twice, once)


def test_the_last_layer_is_computed_only_where_it_is_read(lanes: Lanes, model: BertForPreTraining,
                                                          batch: dict[str, Array]) -> None:
    lengths, forward = [], model.forward

    def seen(*args: Any, **others: Any) -> Any:
        output = forward(*args, **others)
        lengths.append(output.last_hidden_state.shape[1])
        return output

    model.forward = seen
    lanes.gradients(batch, STEP)
    most = (batch["labels"] != IGNORE_INDEX).sum(axis=1).max()
    assert max(lengths) == 1 + most < batch["labels"].shape[1]


def test_a_fast_thread_waits_for_a_slow_one(model: BertForPreTraining, batch: dict[str, Array],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the gradients of all micro-batches could wait in memory for those of the first."""
    started, slow, part = [], threading.Event(), Lanes._part

    def first_is_slow(self: Lanes, *args: Any) -> Sums:
        started.append(args[4])
        if args[4] == 0:
            slow.wait(timeout=1.0)
        return part(self, *args)

    monkeypatch.setattr(Lanes, "_part", first_is_slow)
    lanes = Lanes(model, threads=2, micro_batch=1)
    timer = threading.Timer(0.5, lambda: (ahead.extend(started), slow.set()))
    ahead: list[int] = []
    timer.start()
    lanes.gradients(batch, STEP)
    assert sorted(ahead) == [0, 1, 2, 3]
    assert sorted(started) == list(range(10))
    lanes.close()


def test_weights_updated_in_place_are_seen_by_every_lane(lanes: Lanes, model: BertForPreTraining,
                                                         batch: dict[str, Array]) -> None:
    lanes.gradients(batch, STEP)
    for p in model.parameters():
        p.data *= 1.5
    expected, _ = whole(model, batch)
    lanes.gradients(batch, STEP)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_an_error_in_a_lane_is_raised(lanes: Lanes, batch: dict[str, Array]) -> None:
    broken = {**batch, "input_ids": np.where(np.arange(10)[:, None] == 7, 10**6, batch["input_ids"])}
    with pytest.raises(InputError, match="1000000"):
        lanes.gradients(broken, STEP)


def test_after_an_error_no_other_part_is_begun(model: BertForPreTraining, batch: dict[str, Array],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor after Ctrl-C, which would otherwise wait for the whole batch before the process ends."""
    started, raised, part = [], threading.Event(), Lanes._part

    def first_fails(self: Lanes, *args: Any) -> Sums:
        started.append(args[4])
        if args[4] == 0:
            raise InputError("the first part")
        raised.wait(timeout=3.0)
        return part(self, *args)

    monkeypatch.setattr(Lanes, "_part", first_fails)
    lanes = Lanes(model, threads=1, micro_batch=1)
    with pytest.raises(InputError, match="the first part"):
        lanes.gradients(batch, STEP)
    raised.set()
    lanes.close()
    assert started in ([0], [0, 1])
    assert all(p.grad is None for p in model.parameters())


def test_of_two_errors_the_earlier_part_is_named(lanes: Lanes, batch: dict[str, Array]) -> None:
    rows = np.arange(10)[:, None]
    ids = np.where(rows == 8, 10**7, np.where(rows == 3, 10**6, batch["input_ids"]))
    with pytest.raises(InputError, match="is 1000000:"):
        lanes.gradients({**batch, "input_ids": ids}, STEP)


def test_blas_keeps_to_the_thread_that_asked_and_is_set_free_again() -> None:
    def most() -> int:
        return max(library["num_threads"] for library in threadpoolctl.threadpool_info()
                   if library["user_api"] == "blas")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with single_threaded_blas():
            assert most() == 1
        assert most() == 2


def test_a_loss_that_stops_being_a_number_names_the_step_and_keeps_the_last_save(
        prepared: Path, finished: Path, copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, train = copy(prepared), Trainer.step

    def step(trainer: Trainer) -> None:
        if trainer.optimizer.steps == 13:
            trainer.model.bert.pooler.dense.weight.data[2, 3] = np.nan
        train(trainer)

    threads = lane_threads()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(InputError, match=r"stopped at step 14, because the next-sentence loss is nan; .* saved is"):
            resume(folder, 2, tiny.quiet)
    assert lane_threads() == threads
    said: list[str] = []
    assert resume(folder, 2, said.append)
    assert said[0] == f"resuming {folder} at step 10 of 40"
    assert tiny.contents(folder) == tiny.contents(finished)
