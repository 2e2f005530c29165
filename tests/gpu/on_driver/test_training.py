"""Pretraining on the device: the run of the CPU, step by step, without waits, each step one graph."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train import tiny
from train.process import interrupt_after

from minibert import BertForPreTraining
from minibert.backend import to_host
from minibert.cli import main
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays
from minibert.ops.cuda import blas
from minibert.ops.cuda.graph import Graph
from minibert.train import pretrain as pretraining
from minibert.train.black_box import Diverged
from minibert.train.device_steps import UNREAD, DeviceSteps
from minibert.train.loop import Trainer
from minibert.train.pretrain import Loaded, pretrain, resume
from minibert.train.steps import Finished

from ..driver.record import record

# What a step of the run below asks for: fewer is progress, more is not
BUDGET = {"launches": 148, "gemms": 36, "h2d": 1, "d2d": 33}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {}, "whole batch": {"micro_batch": 10}, "no dropout": {"dropout": 0.0}, "pre-norm": {"norm": "pre"},
    "two layers, recomputed": {"layers": 2, "recompute": True}, "whole words": {"whole_word": True},
    "relu, sinusoids": {"activation": "relu", "positions": "sinusoidal"}, "Google's Adam": {"bias_correction": False},
    "clipped": {"clip": 0.01}}


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "draw_curves", lambda *arguments: None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt")


def prepared(folder: Path, corpus: Path, **changes: Any) -> Path:
    """A run folder with settings, vocabulary and text, and no step trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "_train", lambda *arguments: True)
        pretrain(tiny.settings(corpus, **{"micro_batch": 5, "start": "random", **changes}), folder, 1, tiny.quiet)
    return folder


@pytest.fixture
def prepare(tmp_path: Path, corpus: Path) -> Callable[..., Path]:
    """Make a run folder in which no step was taken."""
    return lambda **changes: prepared(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", corpus, **changes)


def trainer_of(folder: Path, device: str, graphs: bool = True, fast: bool = True, **changes: Any) -> Trainer:
    loaded = Loaded.read(folder)
    loaded = replace(loaded, settings=replace(loaded.settings, **changes))
    model, optimizer = loaded.begin(device)
    model.to(device, fast)
    model.train().bert.encoder.recompute = loaded.settings.recompute
    trainer = Trainer(loaded.run, loaded.settings, model, optimizer, loaded.batches(), loaded.held_out(), 1)
    if not graphs:
        trainer.steps.close()
        assert isinstance(trainer.steps, DeviceSteps)
        trainer.steps = DeviceSteps(loaded.settings, model, optimizer, trainer.steps.black_box, graphs=False)
    return trainer


def taken(trainer: Trainer, steps: int) -> list[Finished]:
    with closing(trainer.steps):
        for _ in range(steps):
            trainer.step()
        trainer.settle()
    return trainer.recent


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    names = [name for name, _ in trainer.model.named_parameters()]
    columns = [[p.data for p in trainer.optimizer.parameters], trainer.optimizer.m, trainer.optimizer.v]
    return {f"{part} {name}": to_host(array).copy() for part, arrays in zip("wmv", columns, strict=True)
            for name, array in zip(names, arrays, strict=True)}


def near(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """But for a key's bias, which has no gradient but rounding: Adam makes that as long as any other."""
    for name, numbers in expected.items():
        if "self.key.bias" not in name:
            assert np.abs(found[name] - numbers).max() <= 1e-3 * max(np.abs(numbers).max(), 1e-6), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_steps_are_those_of_the_cpu(prepare: Callable[..., Path], variant: str) -> None:
    folder = prepare(**VARIANTS[variant])
    here, there = (trainer_of(folder, device) for device in ("cpu", "cuda"))
    for mine, numpys in zip(taken(there, 5), taken(here, 5), strict=True):
        for number in ("masked_loss", "pair_loss", "gradient_norm", "lr", "clip"):
            assert getattr(mine.record, number) == pytest.approx(getattr(numpys.record, number), rel=2e-5), number
        assert (mine.record.step, mine.tokens, mine.sums.masked) == (numpys.record.step, numpys.tokens,
                                                                     numpys.sums.masked)
        assert mine.sums.masked_right == numpys.sums.masked_right
        np.testing.assert_array_equal([mine.sums.pairs, mine.sums.pairs_right],
                                      [numpys.sums.pairs, numpys.sums.pairs_right])
    near(state(there), state(here))


@pytest.mark.parametrize(("precision", "unit"), [("tf32", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_steps_in_a_lower_precision_are_near(prepare: Callable[..., Path], precision: str, unit: float) -> None:
    folder = prepare()
    exact, rounded = trainer_of(folder, "cuda"), trainer_of(folder, "cuda", precision=precision)
    assert blas.precision() == precision
    for mine, other in zip(taken(rounded, 4), taken(exact, 4), strict=True):
        assert mine.record.masked_loss == pytest.approx(other.record.masked_loss, rel=4 * unit)
        assert mine.record.gradient_norm == pytest.approx(other.record.gradient_norm, rel=16 * unit)
        assert mine.record.gradient_norm != other.record.gradient_norm
    assert blas.precision() == "float32"


def test_a_lower_precision_is_refused_on_the_cpu(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"products in tf32 are a GPU's, .* leave out --precision"):
        pretrain(tiny.settings(corpus, precision="tf32"), tmp_path / "run", 1, tiny.quiet, "cpu")
    assert not (tmp_path / "run").exists()


def test_plain_formulas_take_the_same_steps(prepare: Callable[..., Path]) -> None:
    folder = prepare()
    kernels, formulas = (trainer_of(folder, "cuda", fast=fast) for fast in (True, False))
    for mine, other in zip(taken(formulas, 4), taken(kernels, 4), strict=True):
        assert mine.record.masked_loss == pytest.approx(other.record.masked_loss, rel=2e-5)
        assert mine.record.gradient_norm == pytest.approx(other.record.gradient_norm, rel=2e-5)
    near(state(formulas), state(kernels))


def test_a_step_waits_for_nothing_and_is_one_graph(prepare: Callable[..., Path]) -> None:
    trainer = trainer_of(prepare(micro_batch=10), "cuda")
    batch = trainer._batch(0)  # the same for all, so that all have one layout
    with closing(trainer.steps):
        for number in range(4):
            with record() as asked:
                trainer.steps.take(batch, number, 1e-3)
            assert asked.counts["syncs"] == asked.counts["d2h"] == 0, asked.journal
            if number < 2:  # plain calls, and the recording
                for what in ("launches", "gemms", "h2d", "d2d"):
                    assert asked.counts[what] <= BUDGET[what], asked.counts
                assert not [event for event in asked.journal if "float64" in event]
            if number > 1:
                assert asked.counts == {"launches": 0, "gemms": 0, "h2d": 1, "d2h": 0, "d2d": 1, "syncs": 0,
                                        "allocations": 0, "graph_launches": 1}
        with record() as asked:
            assert len(trainer.steps.finished()) == 4
        assert asked.counts["d2h"] == 1


def test_graphs_change_no_bit(prepare: Callable[..., Path]) -> None:
    """Over batches of several layouts, and more steps than may stay unread."""
    folder = prepare(short_pairs=0.6, length=40, batch=3, micro_batch=2)
    trainers = [trainer_of(folder, "cuda", graphs) for graphs in (True, False)]
    recorded, plain = [taken(trainer, UNREAD + 4) for trainer in trainers]
    assert [step.record for step in recorded] == [step.record for step in plain]
    layouts = trainers[0].steps.layouts
    assert len({layout.length for layout in layouts}) > 1 and len(layouts) < UNREAD
    for (name, mine), other in zip(state(trainers[0]).items(), state(trainers[1]).values(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=name)


@pytest.mark.parametrize(("devices", "exact"), [(("cuda", "cuda"), True), (("cuda", "cpu"), False),
                                                (("cpu", "cuda"), False)], ids=str)
def test_a_run_goes_on_from_any_device_to_any(prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
                                              devices: tuple[str, str], exact: bool) -> None:
    """Stopped by Ctrl-C, which saves."""
    folder, whole = prepare(steps=8, save_every=3, eval_every=8), None
    whole = Path(shutil.copytree(folder, folder.with_name("whole")))
    assert resume(whole, 1, tiny.quiet, "cuda")
    with monkeypatch.context() as patch:
        interrupt_after({5}, patch)
        assert not resume(folder, 1, tiny.quiet, devices[0])
    assert resume(folder, 1, tiny.quiet, devices[1])
    (mine, _), (other, _) = (read_arrays(run / tiny.STATE, "") for run in (folder, whole))
    assert int(mine["step"]) == 8
    near(mine, other)
    if exact:
        for name, numbers in other.items():
            np.testing.assert_array_equal(mine[name], numbers, err_msg=name)


# -------------------------------------------------------------------------------------------------- coming to grief
def spoiled(trainer: Trainer, at: int, spoil: Callable[[Trainer], None], steps: int) -> None:
    with closing(trainer.steps):
        for number in range(steps):
            if number == at - 1:
                trainer.settle()
                spoil(trainer)
            trainer.step()
        trainer.settle()


def with_nan(trainer: Trainer) -> None:
    trainer.model.bert.pooler.dense.weight.data[2, 3] = np.nan


def with_huge_gain(trainer: Trainer) -> None:
    trainer.model.cls.predictions.transform.LayerNorm.weight.data *= 1e5


@pytest.mark.parametrize(("at", "spoil", "reason"), [
    (4, with_nan, "the next-sentence loss is nan"), (24, with_huge_gain, r"times the median of the steps before it"),
], ids=["nan", "spike"])
def test_a_step_that_comes_to_grief_and_all_after_it_change_nothing(
        prepare: Callable[..., Path], at: int, spoil: Callable[[Trainer], None], reason: str) -> None:
    folder = prepare(steps=40)
    sound, broken = trainer_of(folder, "cuda"), trainer_of(folder, "cuda")
    taken(sound, at - 1)
    with pytest.raises(Diverged, match=rf"stopped at step {at}, because .*{reason}") as caught:
        spoiled(broken, at, spoil, 40)
    assert caught.value.recorded and broken.optimizer.steps == at - 1
    saved, _ = read_arrays(broken.run.black_box_state, "")
    assert int(saved["step"]) == at - 1
    for name, numbers in state(sound).items():
        part, parameter = name.split()
        if part != "w" or parameter not in ("bert.pooler.dense.weight", "cls.predictions.transform.LayerNorm.weight"):
            np.testing.assert_array_equal(saved[f"{'weight' if part == 'w' else part}.{parameter}"], numbers)


# ------------------------------------------------------------------------------------------------------ the command
@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Graph.__init__

    def small(graph: Graph, *arguments: Any) -> None:
        make(graph, *arguments)
        graph.pool.set_limit(size=1 << 16)

    monkeypatch.setattr(Graph, "__init__", small)


FLAGS = ["--steps", "3", "--warmup", "1", "--batch", "4", "--length", "24", "--vocab-size", "120", "--held-out", "0.1"]


def test_the_command_trains_the_tiny_preset_as_the_cpu_does(corpus: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    states = []
    for device in ("cuda", "cpu"):
        folder = tmp_path / device
        assert main(["pretrain", "--corpus", str(corpus), *FLAGS, "--out", str(folder), "--device", device]) == 0
        assert f"saving to {folder}" in capsys.readouterr().out
        model = BertForPreTraining.from_pretrained(folder)
        assert model.config.hidden_size == 128
        states.append(read_arrays(folder / tiny.STATE, "")[0])
    near(*states)


def test_a_run_is_evaluated_on_either_device(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "run")
    settings = ["--corpus", str(corpus), *FLAGS, "--hidden", "16"]
    assert main(["pretrain", *settings, "--out", folder, "--device", "cpu"]) == 0
    capsys.readouterr()
    for arguments in (["evaluate", folder, "--json"], ["fill-mask", folder, "bama [MASK] doso"]):
        printed = []
        for device in ("cpu", "cuda"):
            with record() as asked:
                assert main([*arguments, "--device", device]) == 0
            assert (asked.counts["gemms"] > 0) == (device == "cuda")
            printed.append(capsys.readouterr().out)
        if arguments[0] == "evaluate":
            here, there = map(json.loads, printed)
            assert there == pytest.approx(here, rel=1e-5) and here["masked"] > 20
        else:
            assert printed[0] == printed[1]


def test_a_full_gpu_is_answered_with_what_fits(corpus: Path, tmp_path: Path, no_room: None,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--corpus", str(corpus), *FLAGS, "--out", str(tmp_path / "run"), "--device", "cuda"]) == 1
    out, err = capsys.readouterr()
    assert "by the ledger, weights, gradients and moments take" in out and "Traceback" not in err
    assert "minibert: the GPU is out of memory:" in err and "smaller --micro-batch" in err
