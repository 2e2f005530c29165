"""A run that comes to grief stops before it harms its weights, and leaves what is needed to find out why."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert.cli import main
from minibert.debug.blaming.diverged import explain, load_failed_step
from minibert.errors import InputError
from minibert.train.black_box import STEPS, BlackBox, Diverged, StepRecord
from minibert.train.checkpoint import load_checkpoint, save_checkpoint
from minibert.train.lanes import Lanes
from minibert.train.loop import Trainer
from minibert.train.pretrain import Loaded, pretrain, resume

from . import tiny
from .process import interrupt_after, outcome, victim
from .victim import Killer, in_child

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
Copy = Callable[[Path], Path]
FLAGS = ("--layers 1 --hidden 16 --heads 2 --vocab-size 120 --length 24 --held-out 0.1 --batch 6 --micro-batch 2 "
         "--steps 40 --warmup 3 --threads 2")
BOX = {"black_box.json", "black_box.safetensors"}


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def spoil_at(step: int, patch: pytest.MonkeyPatch, spoil: Callable[[Trainer], None]) -> None:
    """Let something happen to the trainer just before it computes this step."""
    train = Trainer.step

    def spoiled(trainer: Trainer) -> None:
        if trainer.optimizer.steps == step - 1:
            spoil(trainer)
        train(trainer)

    patch.setattr(Trainer, "step", spoiled)


def with_nan(trainer: Trainer) -> None:
    trainer.model.bert.pooler.dense.weight.data[2, 3] = np.nan


def with_huge_gain(trainer: Trainer) -> None:
    trainer.model.cls.predictions.transform.LayerNorm.weight.data *= 1e5


def box_of(folder: Path, spike: float = 100.0) -> BlackBox:
    """A black box of a run whose settings have this limit."""
    loaded = Loaded.read(folder)
    object.__setattr__(loaded.settings, "spike", spike)
    return BlackBox(loaded.run, loaded.settings, *loaded.begin())


def record(step: int, norm: float = 1.0, **changes: Any) -> StepRecord:
    return StepRecord(**({"step": step, "batch": step - 1, "masked_loss": 3.0, "pair_loss": 0.7, "lr": 0.01,
                          "gradient_norm": norm, "clip": 1.0} | changes))


@pytest.mark.parametrize("lr", [1e30, 1e6])
def test_an_absurd_learning_rate_is_one_sentence_and_a_black_box(
        lr: float, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["pretrain", "--corpus", str(corpus), "--out", str(folder), "--lr", str(lr), *FLAGS.split()]) == 1
    output, errors = capsys.readouterr()
    said = errors.splitlines()[-1]
    box = json.loads((folder / "black_box.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    step = box["step"]
    assert f"training stopped at step {step}, because the masked-word loss is nan" in said
    assert f"`minibert replay {folder} --step {step}`" in said and "smaller --lr" in said
    assert [r["step"] for r in box["steps"]] == list(range(1, step + 1))
    assert box["steps"][-1]["masked_loss"] == box["steps"][-1]["gradient_norm"] == "nan"
    assert not (folder / tiny.STATE).exists()  # nothing had been saved
    explanation = explain(folder)
    assert f"Step {step}, examples 0 to 1 of its batch" in explanation
    assert explanation in output  # the command says it before the sentence


def test_the_state_in_the_box_is_the_one_before_the_step_that_failed(
        corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bytes]] = []
    train = Trainer.step

    def step(trainer: Trainer) -> None:
        seen.append({p.name: p.data.tobytes() for p in trainer.model.parameters()})
        train(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(Diverged) as caught:
            pretrain(tiny.settings(corpus, lr=1e6, save_every=2), tmp_path, 2, tiny.quiet)
    failed, _ = load_failed_step(tmp_path)
    assert failed.number == caught.value.step == len(seen) and caught.value.recorded
    assert {p.name: p.data.tobytes() for p in failed.model.parameters()} == seen[-1]
    lanes = Lanes(failed.model.train(), 1, 2)
    assert math.isnan(lanes.gradients(failed.batch, failed.optimizer.steps).masked_loss)
    lanes.close()
    for p in failed.model.parameters():
        p.grad = None
    load_checkpoint(tmp_path / tiny.STATE, failed.model, failed.optimizer, 0)
    assert 0 < failed.optimizer.steps < failed.number  # the last save is older, and whole
    with pytest.raises(Diverged) as again:
        resume(tmp_path, 1, tiny.quiet)
    assert (again.value.step, again.value.reason) == (caught.value.step, caught.value.reason)


def test_a_healthy_run_writes_no_black_box(finished: Path) -> None:
    assert not files(finished) & BOX
    with pytest.raises(InputError, match="has written no black box"):
        explain(finished)


def test_a_nan_in_a_weight_stops_the_run_and_is_named(prepared: Path, finished: Path, copy: Copy,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(prepared)
    with monkeypatch.context() as patch:
        spoil_at(14, patch, with_nan)
        with pytest.raises(Diverged) as caught:
            resume(folder, 2, tiny.quiet)
    assert (caught.value.step, caught.value.run.path) == (14, folder)
    assert caught.value.reason == "the next-sentence loss is nan"
    assert "The parameter bert.pooler.dense.weight holds 1 NaN, first at [2, 3]" in explain(folder).replace("\n", " ")
    assert resume(folder, 2, tiny.quiet)  # from the last save, and without the disturbance
    assert tiny.contents(folder) == tiny.contents(finished)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_spike_stops_the_run_and_is_explained(threads: int, prepared: Path, copy: Copy,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(prepared)
    spoil_at(31, monkeypatch, with_huge_gain)
    with pytest.raises(Diverged, match=r"times the median of the steps before it \(--spike 100\)"):
        resume(folder, threads, tiny.quiet)
    text = explain(folder)
    assert text.startswith("Step 31: the loss and every gradient are finite; the gradient's length is ")
    norm = json.loads((folder / "black_box.json").read_text(encoding="utf-8"))["steps"][-1]["gradient_norm"]
    assert f"length is {norm:.4g}." in text
    assert "predictions.transform.LayerNorm:layer_norm" in text and "where it is longest" in text


def test_what_counts_as_a_spike(prepared: Path, copy: Copy) -> None:
    folder = copy(prepared)
    box = box_of(folder, spike=10.0)
    for step in range(1, 20):
        box.watch(record(step, norm=1.0 + step % 3), box.limit())  # the median is 2
    box.watch(record(20, norm=1e6), box.limit())  # too few to compare with
    box.watch(record(21, norm=20.0), box.limit())
    with pytest.raises(Diverged) as caught:
        box.watch(record(22, norm=20.1), box.limit())
    assert caught.value.reason == ("the gradient has length 20.1, 10.05 times the median of the steps before it "
                                   "(--spike 10)")
    never = box_of(folder, spike=0.0)
    for step in range(1, 100):
        never.watch(record(step, norm=10.0**(step % 30)), never.limit())
    assert [r.step for r in never.records] == list(range(100 - STEPS, 100))
    still = box_of(folder)
    for step in range(1, 40):
        norm = 0.0 if step < 30 else 1.0  # a median of 0 is nothing to compare with
        still.watch(record(step, norm=norm), still.limit())


@pytest.mark.parametrize("field", ["masked_loss", "pair_loss", "gradient_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_any_number_that_is_not_finite_stops_the_first_step(field: str, value: float, prepared: Path,
                                                            copy: Copy) -> None:
    folder = copy(prepared)
    with pytest.raises(Diverged, match=f"training stopped at step 1, because the .* is {value}"):
        box_of(folder).watch(record(1, **{field: value}), math.inf)
    box = json.loads((folder / "black_box.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert box["steps"] == [{**vars(record(1)), field: str(value)}]


def test_a_full_disk_is_told_beside_the_divergence(prepared: Path, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(prepared)
    interrupt_after([13], monkeypatch)
    assert not resume(folder, 1, tiny.quiet)
    loaded = Loaded.read(folder)
    model, optimizer = loaded.begin()
    load_checkpoint(loaded.run.state, model, optimizer, 0)
    model.bert.pooler.dense.weight.data[2, 3] = np.nan
    save_checkpoint(loaded.run.state, model, optimizer, 0)
    before = tiny.contents(folder)
    code, _, errors = outcome(victim("limit", folder, (folder / tiny.STATE).stat().st_size // 2))
    assert code == 1
    last = errors.splitlines()[-1]
    assert last.startswith("minibert: training stopped at step 14, because the next-sentence loss is nan; its black "
                           f"box could not be written (cannot write {folder / 'black_box.safetensors'}: File too large")
    assert tiny.contents(folder) == before
    assert not files(folder) & BOX and not list(folder.glob(".*"))


def test_kill_9_while_the_box_is_written_hurts_neither_the_last_save_nor_an_explanation(
        prepared: Path, finished: Path, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = copy(prepared)
    with monkeypatch.context() as patch:
        interrupt_after([10], patch)
        assert not resume(saved, 1, tiny.quiet)
    with pytest.raises(Diverged):
        # an older box, whose description must not survive its state
        box_of(saved).watch(record(1, norm=math.nan), math.inf)
    spoil_at(14, monkeypatch, with_nan)
    before, points, label = tiny.contents(saved), [], tmp_path / "label.txt"
    for number in range(3, 8):  # points 1 and 2 are the log, cut to where the run goes on
        folder = copy(saved)
        code = in_child(lambda folder=folder, number=number: (Killer(number, label), resume(folder, 1, tiny.quiet)))
        if code == 1:
            break
        assert code == -9
        points.append(label.read_text(encoding="utf-8"))
        assert tiny.contents(folder) == before
        whole = (folder / "black_box.json").exists()
        assert whole is (points[-1] == "after black_box.json is replaced")
        assert not whole or load_failed_step(folder)[0].number == 14
        monkeypatch.undo()
        assert resume(folder, 1, tiny.quiet)
        assert tiny.contents(folder) == tiny.contents(finished)
        spoil_at(14, monkeypatch, with_nan)
    assert code == 1
    assert points[-4:] == ["half of black_box", "after black_box.safetensors is replaced", "half of black_box",
                           "after black_box.json is replaced"]


def test_a_box_of_two_halves_is_refused(prepared: Path, copy: Copy) -> None:
    folder = copy(prepared)
    box = box_of(folder)
    with pytest.raises(Diverged):
        box.watch(record(1, norm=math.nan), box.limit())
    text = (folder / "black_box.json").read_text(encoding="utf-8")
    (folder / "black_box.json").write_text(text.replace('"step": 1,', '"step": 7,', 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"is about step 7, and the state beside it belongs to step 1"):
        load_failed_step(folder)
