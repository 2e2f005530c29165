"""What why() says to wrong questions, and to a backward that is wrong."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from minibert import AdamW, InputError, Tensor
from minibert import functional as F
from minibert.debug.execution import Execution
from minibert.debug.provenance.text import bar, rows_of
from minibert.debug.provenance.why import why
from minibert.graph import no_grad, state
from minibert.ops.registry import Op


def planted(loss: Tensor, op: str, wrong: Callable[[tuple, Any], tuple]) -> None:
    """Put a wrong backward into the graph of a loss, for one operation: wrong(gradients, dy) in place of its own."""
    for node in Execution(loss).nodes:
        if node.op.name == op:
            right: Op = node.op
            backward = right.backward
            node.op = dataclasses.replace(right, backward=lambda dy, *saved, backward=backward: wrong(
                backward(dy, *saved), dy))


@pytest.mark.parametrize(("op", "wrong", "split"), [
    ("linear", lambda d, dy: (d[0], d[1] * np.abs(d[1]), d[2]), ("loss",)),       # not linear
    ("linear", lambda d, dy: (d[0], d[1] + 1e-3, d[2]), ("example",)),             # a constant too much
    ("linear", lambda d, dy: (d[0], d[1] * 1.001, d[2]), ("example",)),            # linear, but not the slope
    ("add_norm", lambda d, dy: (d[0], d[1] + 1e-3, *d[2:]), ("loss",)),
    ("attention", lambda d, dy: (np.maximum(d[0], 0), *d[1:]), ("loss",)),
    ("linear", lambda d, dy: (d[0], d[1][:, :1], d[2]), ("use",)),                 # a wrong shape
    ("linear", lambda d, dy: (d[0], None, d[2]), ("use",))])
def test_a_wrong_backward_is_caught(op: str, wrong: Any, split: tuple[str, ...]) -> None:
    model, batch = toy_model().train(), toy_batch()
    loss = model(**batch).loss
    entry = model.bert.encoder.layer[0].attention.self.query.weight[3, 5]
    why(entry, loss).by(*split)
    planted(loss, op, wrong)
    with pytest.raises(AssertionError, match=r"a backward on the way is wrong|a gradient of shape|left out an input"):
        why(entry, loss).by(*split)


def test_a_gradient_that_cancels_to_nothing_is_no_fault() -> None:
    model, batch = toy_model().train(), toy_batch()
    bias = model.bert.encoder.layer[0].attention.self.key.bias  # softmax ignores it
    answer = why(bias[4], model(**batch).loss)
    assert abs(answer.value) < 1e-15
    for names in (("use",), ("loss",), ("example",), ("position",), ("example", "position")):
        assert abs(answer.by(*names).values.sum()) < 1e-14
    answer.through("bert.encoder.layer.0.attention.self")[0].by("head")


def test_no_loss() -> None:
    model, batch = toy_model(), toy_batch()
    state.latest = lambda: None
    with pytest.raises(InputError, match=r"call loss.backward\(\) first and keep the loss"):
        why(model.cls.predictions.bias[3])
    loss = model(**batch).loss
    loss.backward()
    assert why(model.cls.predictions.bias[3]).value == pytest.approx(model.cls.predictions.bias.grad[3], rel=1e-12)
    del loss
    with pytest.raises(InputError, match="keep the loss"):
        why(model.cls.predictions.bias[3])


def test_wrong_entries() -> None:
    model, batch = toy_model(), toy_batch()
    loss = model(**batch).loss
    table = model.bert.embeddings.word_embeddings.weight
    with pytest.raises(InputError, match=r"array of shape \(15,\): pick an entry, as in parameter\[0, 0\]"):
        why(table[3], loss)
    with pytest.raises(InputError, match=r"array of shape \(37, 15\)"):
        why(table, loss)
    with pytest.raises(InputError, match="has no part in this loss"):
        why(toy_model().cls.predictions.bias[3], loss)
    with pytest.raises(InputError, match="has no part in this loss"):
        why((table * table)[3, 4], loss)
    with no_grad(), pytest.raises(InputError, match="picked inside no_grad"):
        why(table[3, 4], loss)
    with pytest.raises(InputError, match=r"this loss has shape \(7, 2\)"):
        why(table[3, 4], model(**batch).seq_relationship_logits)
    assert why(table[3, 4][()], loss).question.title == why(table[3][4 - 15], loss).question.title


def test_a_leaf_that_was_changed_and_parts_that_are_recomputed() -> None:
    model, batch = toy_model(), toy_batch()
    model.bert.encoder.recompute = True
    loss = model(**batch).loss
    with pytest.raises(InputError, match="set recompute = False"):
        why(model.cls.predictions.bias[3], loss)
    model.bert.encoder.recompute = False
    loss = model(**batch).loss
    loss.backward()
    AdamW(model.parameters()).step()
    with pytest.raises(InputError, match=r"was changed after .*of the last backward pass: name another loss"):
        why(model.cls.predictions.bias[3])


def test_a_gradient_that_is_not_finite() -> None:
    x = Tensor(np.array([0.0, 1.0]), requires_grad=True)
    with pytest.raises(InputError, match="not finite"), np.errstate(all="ignore"):
        why(x[0], F.log(x).sum())


def test_wrong_names() -> None:
    model, batch = toy_model(), toy_batch()
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], model(**batch).loss)
    with pytest.raises(InputError, match=r"2 places, .*attention.self.*: choose one with .through\("):
        answer.by("head")
    with pytest.raises(InputError, match="'feature' means something else at each of"):
        answer.by("feature")
    with pytest.raises(InputError, match=r"told apart by 'hat': choose one of use, path, loss, example, feature,"):
        answer.by("hat")
    for names in ((), ("use", "loss"), ("example", "example"), ("example", "position", "head")):
        with pytest.raises(InputError, match="name one of use, path and loss"):
            answer.by(*names)
    with pytest.raises(InputError, match=r"no module or operation 'bert.encoder.layer.2'"):
        answer.through("bert.encoder.layer.2")
    with pytest.raises(InputError, match="name a module by its path"):
        answer.through(model.bert.encoder)
    bias = why(model.cls.predictions.bias[7], model(**batch).loss)
    with pytest.raises(InputError, match=r"does not lie between cls.predictions.bias and the loss"):
        bias.through("bert.pooler")
    with pytest.raises(InputError, match=r"no fork on the way"):
        bias.by("path")
    with pytest.raises(InputError, match=r"no term of this split by loss is at \(0,\)"):
        bias.by("loss").at(0)
    with pytest.raises(InputError, match="only a split by two coordinates"):
        bias.by("example").grid()
    top = bias.by("use")[0].by("use")[0].by("use")[0]
    with pytest.raises(InputError, match="no use on the way"):
        top.by("use")


def test_a_batch_without_labels_has_no_places_in_the_head() -> None:
    model, batch = toy_model(), toy_batch()
    batch["labels"][:] = -100
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], model(**batch).loss)
    assert answer.by("example", "position").values.sum() == pytest.approx(answer.value, rel=1e-10)
    assert answer.by("loss")[0].value == 0.0


def test_bars_and_the_sum_of_those_left_out() -> None:
    assert [bar(v, 2.0, 3) for v in (2.0, -2.0, 0.5, 0.0)] == ["   │███", "███│   ", "   │█  ", "   │   "]
    model, batch = toy_model().train(), toy_batch()
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], model(**batch).loss)
    split = answer.by("example", "position")
    rows = rows_of(split, 6)
    assert len(rows) == 6 and rows[-1][1] == f"{len(split) - 5} others together"
    assert sum(value for value, _ in rows) == pytest.approx(answer.value, rel=1e-10)
    assert [abs(value) for value, _ in rows[:5]] == sorted(np.abs(split.values))[:-6:-1]


def test_answers_fit_a_screen_and_figures_are_drawn() -> None:
    model, batch = toy_model().train(), toy_batch()
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3], model(**batch).loss, word="<{}>".format)
    lines = str(answer).splitlines()
    assert len(lines) <= 12 and lines[0] == (
        f"d loss / d bert.embeddings.word_embeddings.weight[7, 3] = {answer.value:+.3e}")
    assert all(len(line) <= 80 for text in (answer, answer.tree(), answer.by("position")) for line in
               str(text).splitlines())
    assert "token 7 '<7>'" in str(answer.by("token"))
    assert repr(answer) == f"<{lines[0]}>" and "<table" in answer._repr_html_()
    rows, columns, table = (grid := answer.by("example", "position")).grid()
    assert table[rows.index(2), columns.index(5)] == grid.at(2, 5).value and table.sum() == pytest.approx(answer.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for split in (answer.by("use"), answer.by("loss"), answer.by("token"), answer.by("position"), grid,
                      answer.through("bert.encoder.layer.0.attention.self")[0].by("head")):
            split.figure().canvas.draw()
            assert "<table" in split._repr_html_() and str(split.whole.question.title) in str(split)
