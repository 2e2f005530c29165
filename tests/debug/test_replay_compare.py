"""What is changed in a step shows first where it is used, and nowhere before; what is not changed is identical."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from minibert import InputError
from minibert.debug.replaying.change import Change, Eps, LayerNormEps, LearningRate, Token, Weight
from minibert.debug.replaying.compare import Comparison, compare, record_difference
from minibert.debug.replaying.replay import Replay, replay
from minibert.debug.replaying.timeline import BACKWARD, FORWARD, GRADIENT, UPDATE, Record, Timeline
from minibert.debug.replaying.training_step import TrainingStep
from minibert.ops.loss import IGNORE_INDEX

from .places import place_of

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


@pytest.fixture(scope="module")
def original(run: Path) -> Replay:
    return replay(run, 1)


@pytest.fixture(scope="module")
def timeline(original: Replay) -> Timeline:
    return original.run()


def changed_phases(comparison: Comparison) -> set[tuple[str, int | None]]:
    return {(d.record.phase, d.record.part) for d in comparison.differences if d.differs}


def other_piece(step: TrainingStep, example: int, position: int) -> int:
    return int(step.batch["input_ids"][example, position]) - 1


def test_a_step_equals_itself(original: Replay, timeline: Timeline) -> None:
    comparison = compare(timeline, original)
    assert comparison.identical and comparison.first is None and comparison.rows() == []
    assert str(comparison) == "step 1 beside step 1\nidentical: the same numbers in all 393 records"
    assert "identical" in comparison._repr_html_()
    assert comparison.figure().axes


@pytest.mark.parametrize(("example", "part"), [(0, 0), (5, 2), (9, 4)])
def test_a_changed_token_shows_first_in_the_lookup_of_its_word(example: int, part: int, original: Replay,
                                                               timeline: Timeline) -> None:
    piece = other_piece(original.step, example, 4)
    comparison = compare(timeline, original.changed(Token(example, 4, piece)))
    first = comparison.first
    assert first.record.key == (FORWARD, part, "bert.embeddings.word_embeddings:embedding")
    assert first.record.place.endswith(place_of("models/bert.py", "self.word_embeddings(input_ids)"))
    assert first.index[:2] == (example % 2, 4)
    table = original.step.state()["weight.bert.embeddings.word_embeddings.weight"]
    assert abs(first.after - first.before) == np.abs(table[piece].astype(float) - table[piece + 1]).max()
    assert changed_phases(comparison) == {(FORWARD, part), (BACKWARD, part), (GRADIENT, None), (UPDATE, None)}
    others = ", ".join(str(number) for number in range(5) if number != part)
    assert f"the same forward and backward: micro-batches {others}" in str(comparison)


def test_a_piece_is_given_by_name_or_by_id(original: Replay) -> None:
    token = original.step.loaded.tokenizer.token
    piece = other_piece(original.step, 3, 2)
    a, b = (original.changed(Token(3, 2, what)) for what in (piece, token(piece)))
    assert a.step.batch["input_ids"][3, 2] == b.step.batch["input_ids"][3, 2] == piece
    assert original.step.batch["input_ids"][3, 2] == piece + 1
    assert b.changes == (f"token 2 of example 3 = {token(piece)}",)


@pytest.mark.parametrize("change", [{"value": 0.5}, {"delta": -0.125}])
def test_a_changed_weight_shows_first_in_the_operation_that_uses_it(change: dict[str, float], original: Replay,
                                                                    timeline: Timeline) -> None:
    changed = original.changed(Weight(QUERY, (3, 5), **change))
    before, after = (r.step.state()[f"weight.{QUERY}"] for r in (original, changed))
    assert np.argwhere(before != after).tolist() == [[3, 5]]
    assert after[3, 5] == np.float32(change.get("value", before[3, 5] + change.get("delta", 0)))
    first = compare(timeline, changed).first
    assert first.record.key == (FORWARD, 0, "bert.encoder.layer.0.attention.self.query:linear")
    assert first.index[-1] == 3


def test_a_changed_learning_rate_shows_in_the_optimiser_only(original: Replay, timeline: Timeline) -> None:
    comparison = compare(timeline, original.changed(LearningRate(0.004)))
    assert comparison.first.record.key == (UPDATE, None, "learning rate")
    assert (comparison.first.before, comparison.first.after) == (timeline.lr, 0.004)
    assert changed_phases(comparison) == {(UPDATE, None)}
    moved = [d for d in comparison.differences if d.differs]
    assert len(moved) == 31 and all(d.relative == pytest.approx(0.4, rel=1e-3) for d in moved)


def test_a_changed_epsilon_of_adamw_shows_in_the_updates_only(original: Replay, timeline: Timeline) -> None:
    comparison = compare(timeline, original.changed(Eps(1e-3)))
    assert comparison.first.record.key == (UPDATE, None, "bert.embeddings.word_embeddings.weight")
    assert comparison.first.array in ("update", "weight") and changed_phases(comparison) == {(UPDATE, None)}


def test_a_changed_epsilon_of_layer_norm_shows_first_in_the_first_one(original: Replay, timeline: Timeline) -> None:
    comparison = compare(timeline, original.changed(LayerNormEps(1e-3)))
    assert comparison.first.record.key == (FORWARD, 0, "bert.embeddings.LayerNorm:layer_norm")


def test_any_function_is_a_change_and_several_are_made_in_turn(run: Path, timeline: Timeline) -> None:
    def more_decay(step: TrainingStep) -> None:
        step.optimizer.weight_decay *= 3

    changed = replay(run, 1, [more_decay, LearningRate(0.001)])
    assert changed.changes == ("more_decay", "learning rate = 0.001")
    comparison = compare(timeline, changed)
    assert comparison.second_timeline.verified == "not verified: changed by more_decay, learning rate = 0.001"
    assert comparison.title() == "step 1 beside step 1 with more_decay and learning rate = 0.001"
    assert compare(timeline, replay(run, 1, more_decay)).first.record.name == "bert.embeddings.word_embeddings.weight"


def test_a_change_of_shape_or_of_the_graph_is_a_difference(original: Replay, timeline: Timeline) -> None:
    def one_label_less(step: TrainingStep) -> None:
        labels = step.batch["labels"][9]
        labels[np.flatnonzero(labels != IGNORE_INDEX)[-1]] = IGNORE_INDEX

    def without_dropout(step: TrainingStep) -> None:
        step.model.bert.embeddings.dropout.p = 0.0

    shape = next(d for d in compare(timeline, original.changed(one_label_less)).differences if d.problem)
    assert shape.record.part == 4 and "in the first and" in str(shape) and shape.differs
    first = compare(timeline, original.changed(without_dropout)).first
    assert first.record.name == "bert.embeddings.dropout:dropout" and "is not computed in the second" in str(first)
    extra = compare(original.changed(without_dropout), timeline)
    assert "is not computed in the first" in {d.problem for d in extra.differences}


def record(**arrays: list[float]) -> Record:
    values = {kind: np.array(x, np.float32) for kind, x in arrays.items()}
    return Record(FORWARD, 0, "x", "", {kind: float(np.linalg.norm(x)) for kind, x in values.items()},
                  {kind: x.shape for kind, x in values.items()}, values)


def test_differences_are_measured_by_the_norm_of_the_first() -> None:
    found = record_difference(record(y=[3, 0, 4]), record(y=[3, 1, 2]))
    assert found.relative == pytest.approx(5**0.5 / 5)
    assert (found.array, found.index, found.before, found.after) == ("y", (2,), 4.0, 2.0)
    two = record_difference(record(dx=[3.0], dw=[4.0]), record(dx=[3.0], dw=[4.5]))
    assert (two.relative, two.array) == (pytest.approx(0.1), "dw")
    update = record_difference(record(m=[1.0], update=[0.1], weight=[100]), record(m=[2.0], update=[0.2], weight=[100]))
    assert (update.relative, update.array) == (pytest.approx(1.0), "m")
    assert record_difference(record(y=[0.0]), record(y=[1.0])).relative == np.inf


@pytest.mark.parametrize(("a", "b", "relative"), [
    ([np.nan, 1.0], [np.nan, 1.0], 0.0), ([np.inf, 1.0], [np.inf, 1.0], 0.0), ([2.0, 1.0], [np.nan, 1.0], np.inf),
    ([2.0, 1.0], [np.inf, 1.0], np.inf), ([0.0], [-0.0], 0.0)])
def test_what_is_no_number_differs_from_numbers_alone(a: list[float], b: list[float], relative: float) -> None:
    found = record_difference(record(y=a), record(y=b))
    assert (found.relative, found.differs) == (relative, relative > 0.0)


def test_how_the_difference_grows_is_told_in_80_columns_in_html_and_in_a_figure(original: Replay,
                                                                                timeline: Timeline) -> None:
    comparison = compare(timeline, original.changed(Weight(QUERY, (3, 5), delta=0.1)))
    lines = str(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert "  " + place_of("nn/attention.py", "self.query(queries)") in lines
    assert [row[0] for row in comparison.rows()] == [
        *(f"{d} {p}" for p in range(5) for d in ("forward", "backward")), "gradient", "update"]
    row = comparison.rows()[0]
    members = [d.relative for d in comparison.differences if d.record.key[:2] == (FORWARD, 0) and d.differs]
    assert row[1:4] == [f"{len(members)} of 33", np.median(members), max(members)]

    cells: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: cells.append(tag)  # type: ignore[method-assign]
    html = comparison._repr_html_()
    parser.feed(html)
    assert cells.count("td") == 12 * 5 and "script" not in cells and "first difference" in html

    axes = comparison.figure().axes[0]
    drawn = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    differing = sum(d.differs for d in comparison.differences)
    assert drawn["the same"] == len(comparison.differences) - differing
    assert sum(drawn[name] for name in ("forward: values", "backward: gradients", "gradients, added up",
                                        "AdamW: updates")) == differing
    assert axes.get_yscale() == "log" and axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [*"01234", "gradient", "update"]


@pytest.mark.parametrize(("change", "message"), [
    (Token(10, 3, 7), r"examples 0 .. 9 with positions 0 .. 23, and no position 3 of example 10"),
    (Token(2, 24, 7), r"no position 24 of example 2"), (Token(2, -1, 7), r"no position -1"),
    (Token(2, 3, "bamma"), r"'bamma' is no piece of this run's vocabulary; did you mean bama\?"),
    (Token(2, 3, 44), r"44 is no piece"), (Token(2, 3, -1), r"-1 is no piece"),
    (Weight(QUERY.replace("query", "querry"), (3, 5), 1.0), rf"no parameter .*; did you mean {QUERY}\?"),
    (Weight(QUERY, (3,), 1.0), r"is 16x16 and has no number at 3"),
    (Weight(QUERY, (3, 16), 1.0), r"has no number at 3,16"), (Weight(QUERY, (-1, 1), 1.0), "no number at -1,1"),
    (Weight(QUERY, (3, 5)), "takes a value or a delta"), (Weight(QUERY, (3, 5), 1.0, 1.0), "takes a value or a delta"),
    (LearningRate(-0.1), "at least 0 and finite"), (LearningRate(float("nan")), "at least 0 and finite"),
    (Eps(0.0), "above 0"), (LayerNormEps(float("inf")), "above 0")])
def test_an_impossible_change_is_refused(change: Change, message: str, original: Replay) -> None:
    with pytest.raises(InputError, match=message):
        original.changed(change)


def test_timelines_without_arrays_are_not_compared(original: Replay, timeline: Timeline) -> None:
    with pytest.raises(InputError, match=r"compute them with run\(keep=True\)"):
        compare(timeline, original.run(keep=False))
    with pytest.raises(InputError, match=r"step 1 has no record 'bert.pooler' in its forward phase of micro-batch 0"):
        timeline.find("bert.pooler")
