"""What the debugging tools say of a model on a GPU, beside what they say of the same model on the CPU."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import toys
from models.toys import toy_config, toy_model

from minibert import AdamW, BertForPreTraining, InputError, debug
from minibert import functional as F
from minibert.backend import device_of, to_device, to_host
from minibert.debug.execution import Execution
from minibert.debug.replaying.change import LearningRate, Weight
from minibert.debug.replaying.replay import replay
from minibert.graph import Node, topological_order
from minibert.ops.registry import TWINS
from minibert.optim import clip_scale, gradient_norm
from minibert.tensor import Tensor

Models = tuple[BertForPreTraining, BertForPreTraining]
SMALL = {"num_hidden_layers": 1}  # on the stand-in for a driver every array is a system call, and time is short
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def pair_of_models(dtype: Any) -> Models:
    """The same model on the CPU and on the GPU, with dropout."""
    models = []
    for device in ("cpu", "cuda"):
        model = BertForPreTraining(toy_config(**SMALL), dtype=dtype).train()
        for p, of_toy in zip(model.parameters(), toy_model(**SMALL).parameters(), strict=True):
            p.assign(of_toy.data)
        models.append(model.to(device))
    return models[0], models[1]


def toy_batch() -> toys.Batch:
    return toys.toy_batch(lengths=(5, 3, 4))


def loss_of(model: BertForPreTraining, **changes: Any) -> Tensor:
    """Of the same step of training, whatever was computed before."""
    model.bert.dropout_stream.seek(4)
    loss = model(**toy_batch(), **changes).loss
    assert loss is not None
    return loss


def untouched(model: BertForPreTraining) -> Callable[[], None]:
    """Checks that nothing was moved or changed since."""
    before = {p: (p.data, p.grad, p.version, to_host(p.data).copy()) for p in model.parameters()}

    def check() -> None:
        for p, (data, grad, version, numbers) in before.items():
            assert p.data is data and p.grad is grad and p.version == version
            np.testing.assert_array_equal(to_host(p.data), numbers)
    return check


def assert_alike(mine: str, other: str, relative: float) -> None:
    """The same words, and numbers that are nearly the same."""
    assert NUMBER.sub("#", mine) == NUMBER.sub("#", other)
    for a, b in zip(map(float, NUMBER.findall(mine)), map(float, NUMBER.findall(other)), strict=True):
        assert a == pytest.approx(b, rel=relative, abs=relative)


def step_shows_the_same(models: Models, relative: float) -> None:
    here, there = (debug.step(loss_of(model)) for model in models)
    assert len(here) == len(there)
    for mine, other in zip(there, here, strict=True):
        assert (mine.phase, mine.name, mine.shapes) == (other.phase, other.name, other.shapes)
        shown = {value.label: value for value in other.values}
        assert all(type(value.array) is np.ndarray and not value.array.flags.writeable for value in mine.values)
        for value in mine.values:
            if value.role in ("output", "incoming", "added", "before", "after"):
                np.testing.assert_allclose(value.array, shown[value.label].array, rtol=10 * relative,
                                           atol=relative * max(1.0, np.abs(value.array).max()), err_msg=mine.name)
                assert value.note == shown[value.label].note
        assert str(mine).splitlines()[0] == str(other).splitlines()[0]
    there.until("attention", phase="backward")
    assert there.check().ok and there.event["dcontext"].shape and there.until("norm>1e-30")
    assert "<html" in there.to_html([there.at(3)]).lower()


def why_splits_the_same(models: Models, relative: float) -> None:
    answers = []
    word = int(toy_batch()["input_ids"][0, 2])
    for model in models:
        loss = loss_of(model)
        loss.backward()
        answers.append(debug.why(model.bert.embeddings.word_embeddings.weight[word, 3]))
        model.zero_grad()
    here, there = answers
    assert there.value == pytest.approx(here.value, rel=1e-6)
    for names in (("use",), ("example", "position"), ("token",)):
        np.testing.assert_allclose(there.by(*names).values, here.by(*names).values, rtol=1e-5, atol=1e-9)
    assert str(there.by("use")) and there.tree() and there.by("example", "position").figure()
    parts = [answer.through("bert.encoder.layer.0.attention.self")[0].by("head").values for answer in answers]
    np.testing.assert_allclose(*parts, rtol=1e-5, atol=1e-9)


def check_and_bisect_find_nothing(models: Models) -> None:
    for loss in map(loss_of, models):
        assert loss.node is not None
        assert all(debug.check(node, directions=1).ok for node in Execution(loss).nodes[::7])
        leaf = next(x for x in topological_order(loss.node) if not isinstance(x, Node))
        assert debug.check(loss, at=leaf, directions=1).ok
        found = debug.bisect(loss)
        assert found.ok and "are right" in found.headline, str(found)


def bisect_finds_a_cut(models: Models) -> None:
    """In a function of a module's, whose parameters are moved where they are."""
    pooler = models[1].bert.pooler
    check, numbers = untouched(models[1]), np.random.default_rng(0).standard_normal((2, 3, 15))
    x = Tensor(to_device(numbers.astype(pooler.dense.weight.dtype), "cuda"))

    def cut() -> Tensor:
        return pooler(x).sum() + F.tanh(pooler.dense.bias.detach()).sum()
    found = debug.bisect(cut, pooler)
    assert not found.ok and "the loss moves with bert.pooler.dense.bias otherwise than" in str(found), str(found)
    check()


def blame_finds_nothing(models: Models) -> None:
    for model in models:
        assert debug.blame(loss_of(model)).kind == "nothing"


def blame_names_the_same(models: Models) -> None:
    """Forward: an infinite weight, a score that overflows; backward: a logarithm's slope."""
    reports: list[list[Any]] = [[], []]
    for model, found in zip(models, reports, strict=True):
        loss_of(model)
        weight = model.bert.encoder.layer[0].attention.self.query.weight
        whole = to_host(weight.data).copy()
        for value in (np.inf, np.finfo(whole.dtype).max / 2):
            broken = whole.copy()
            broken[2, 5] = value
            weight.assign(broken)
            with np.errstate(all="ignore"):
                found.append(debug.blame(loss_of(model)))
        weight.assign(whole)
        pooled = model(**toy_batch()).pooler_output
        with np.errstate(all="ignore"):
            found.append(debug.blame(F.log(pooled * 0.0 + 1e-45).sum()))
            found.append(debug.blame(F.sqrt(F.relu(pooled - 2.0)).sum() + (pooled / (pooled - pooled)).sum()))
    for mine, other in zip(*reports, strict=True):
        assert (mine.kind, mine.phase, mine.title) == (other.kind, other.phase, other.title)
        assert mine.indices == other.indices and mine.cause == other.cause
        assert str(mine) and mine._repr_html_()


def pictures_are_drawn(models: Models) -> None:
    _, model = models
    loss = loss_of(model)
    assert debug.gradient_flow(loss) and "<svg" in debug.draw_graph(loss)._repr_svg_()
    batch = toy_batch()
    assert debug.attention_maps(model, batch) and model.training
    assert device_of(model.bert.pooler.dense.weight.data) == "cuda"


def ledger_counts_the_same(models: Models) -> None:
    """What twins save is not always what the formulas save, but for the large arrays it is."""
    here, there = (debug.ledger(loss_of(model)) for model in models)
    assert [entry.name for entry in there.entries] == [entry.name for entry in here.entries]
    for mine, other in zip(there.entries, here.entries, strict=True):
        assert mine.cost.flops == other.cost.flops
        if mine.node.op.name in ("attention", "gelu", "add_norm", "layer_norm", "dropout", "tanh"):
            assert mine.bytes == other.bytes and [x[1:] for x in mine.saved] == [x[1:] for x in other.saved], mine.name
    assert 0.5 * here.saved < there.saved < 1.2 * here.saved and there.figure()
    assert 0.5 * here.peak.peak < there.peak.peak < 1.2 * here.peak.peak
    assert "On a GPU" in str(there) and "On a GPU" not in str(here)
    for moment in there.moments:
        if moment.forward and moment.node.op.name in ("tanh", "gelu"):
            assert moment.inside == {"tanh": 1, "gelu": 2}[moment.node.op.name] * 4 * int(np.prod(moment.node.shape))
    with pytest.raises(InputError, match="memory is measured on the CPU only"):
        debug.ledger(lambda: loss_of(models[1]), measured=True)


def microscope_shows_the_step(models: Models, relative: float) -> None:
    shown = []
    for model in models:
        optimizer = AdamW(model.parameters(), 1e-2)
        for _ in range(2):
            loss_of(model).backward()
            scale = clip_scale(gradient_norm(optimizer.parameters), 1.0)
            weight = model.bert.pooler.dense.weight
            found = [debug.microscope(optimizer, weight[3, 5], scale), debug.microscope(optimizer, weight[3], scale)]
            optimizer.step(scale)
            optimizer.zero_grad()
        np.testing.assert_allclose(found[1].w_new, to_host(weight.data)[3], rtol=relative)
        shown.append(found)
    for mine, other in zip(*shown, strict=True):
        assert [row[0] for row in mine.rows] == [row[0] for row in other.rows] and mine.figure() and str(mine)
        np.testing.assert_allclose(mine.w_new, other.w_new, rtol=100 * relative, atol=relative)


def a_step_is_replayed(run: Path, number: int, relative: float) -> None:
    """On the device, beside the same step on the CPU; and a change is seen there, too."""
    here, there = replay(run, number), replay(run, number, device="cuda")
    assert (here.step.device, there.step.device) == ("cpu", "cuda")
    check, moments = untouched(there.step.model), [to_host(m).copy() for m in there.step.optimizer.m]
    mine, other = there.run(), here.run()
    check()
    assert all(np.array_equal(to_host(m), kept) for m, kept in zip(there.step.optimizer.m, moments, strict=True))
    assert mine.verified.startswith("verified: within rounding of the training loop on the cpu, not bit for bit: ")
    assert other.verified.startswith("verified: the bits of the training loop")
    assert [record.key for record in mine.records] == [record.key for record in other.records]
    assert mine.sums.masked_loss == pytest.approx(other.sums.masked_loss, rel=relative)
    assert (mine.sums.masked, mine.sums.masked_right) == (other.sums.masked, other.sums.masked_right)
    assert mine.norm == pytest.approx(other.norm, rel=relative)
    comparison = debug.compare(other, mine)
    assert f"step {number} on cpu beside step {number} on cuda" in str(comparison) and "two devices" in str(comparison)
    assert all(type(x) is np.ndarray for x in mine.after.values()) and comparison.figure()
    assert max(difference.relative for difference in comparison.differences
               if difference.record.phase == "forward") < 100 * relative  # steps before are trained on each
    assert str(there).startswith(f"step {number} of 40") and there.changed(LearningRate(0.5)).step.device == "cuda"
    changed = debug.compare(there, there.changed(Weight("bert.pooler.dense.weight", (3, 5), delta=0.1)))
    assert "bert.pooler.dense:linear" in str(changed.first) and not changed.across and "two devices" not in str(changed)


def a_wrong_twin_is_found(model: BertForPreTraining, name: str, part: str, wrong: Callable[..., Any],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    """By bisect, which names it; by check of the operation; and by the stepper, where it stands."""
    monkeypatch.setitem(TWINS, name, replace(TWINS[name], **{part: wrong}))
    loss = loss_of(model)
    found = debug.bisect(loss)
    assert found.kind == "twin" and found.node is not None and found.node.op.name == name
    assert "first wrong operation: the CUDA twin of linear_gelu in cls.predictions.transform" in str(found)
    assert re.search(r"its CUDA twin is off by \d+e-0[12] of the largest", str(found)), str(found)
    shown = "y" if part == "forward" else "x"
    assert [row.input for row in debug.check(found.node).rows if row.verdict == "WRONG"] == [shown]
    stepper = debug.step(loss)
    stepper.until(name)
    assert not stepper.check().ok
    stepper.until("layer_norm")
    assert stepper.check().ok
