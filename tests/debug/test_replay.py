"""A replayed step has the bits of the run, whatever is left of the run; and says so only where that is true."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train import tiny
from train.process import interrupt_after

from minibert import InputError
from minibert.debug.replaying import replay as replay_module
from minibert.debug.replaying.replay import replay
from minibert.debug.replaying.timeline import BACKWARD, GRADIENT, UPDATE
from minibert.debug.replaying.training_step import load_step
from minibert.interop.safetensors import read_arrays, write_arrays
from minibert.train import pretrain as pretraining
from minibert.train.checkpoint import FORMAT
from minibert.train.loop import Trainer
from minibert.train.pretrain import pretrain, resume

from .places import place_of

STEPS = (1, 7, 15, 17, 25, 40)
Copy = Callable[[], Path]
States = dict[int, dict[str, np.ndarray]]


@pytest.fixture(scope="module", autouse=True)
def without_curves() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "draw_curves", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def states(run: Path, tmp_path_factory: pytest.TempPathFactory) -> States:
    """Weights and moments after each of STEPS, of an independent run that was stopped there."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("runs") / "stopped"))
    (folder / tiny.STATE).unlink()
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(STEPS[:-1], patch)
        for step in STEPS:
            assert resume(folder, 2, tiny.quiet) is (step == 40)
            arrays = read_arrays(folder / tiny.STATE, "")[0]
            assert arrays.pop("step") == step and arrays.pop("seed") == 0
            found[step] = arrays
    return found


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Copy:
    return lambda: Path(shutil.copytree(run, tmp_path / f"run-{len(list(tmp_path.iterdir()))}"))


@pytest.fixture
def crashed(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that a power cut ended in its 28th step."""
    folder, step = copy(), Trainer.step
    (folder / tiny.STATE).unlink()

    def fatal(trainer: Trainer) -> None:
        if trainer.optimizer.steps == 27:
            raise MemoryError
        step(trainer)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Trainer, "step", fatal)
        resume(folder, 1, tiny.quiet)
    assert read_arrays(folder / tiny.STATE, "")[0]["step"] == 20
    return folder


def assert_bits(after: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> None:
    assert after.keys() == state.keys()
    for name, array in after.items():
        assert array.tobytes() == state[name].tobytes(), name


@pytest.mark.parametrize("step", [1, 7, 17, 40])
def test_the_state_after_a_replayed_step_is_that_of_a_run_stopped_there(step: int, copy: Copy, states: States) -> None:
    timeline = replay(copy(), step).run()
    assert_bits(timeline.after, states[step])
    assert timeline.verified.startswith("verified: the bits of the ")
    assert ("training_state.safetensors" in timeline.verified) is (step == 40)


@pytest.mark.parametrize("step", [15, 25])
def test_a_crashed_run_is_replayed_before_and_after_its_last_save(step: int, crashed: Path, states: States) -> None:
    replayed = replay(crashed, step)
    assert_bits(replayed.run().after, states[step])
    assert replayed.step.origin == {15: "the beginning of the run, and 14 steps trained again",
                                    25: f"the state after step 20 in {tiny.STATE}, and 4 steps trained again"}[step]


def test_nothing_of_the_run_is_changed(copy: Copy) -> None:
    folder = copy()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    replay(folder, 12).run()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["replay"]


def test_a_replay_leaves_its_step_as_it_was(run: Path) -> None:
    replayed = replay(run, 1)
    before = {name: array.copy() for name, array in replayed.step.state().items()}
    losses = [loss.item() for loss in replayed.parts]
    first, second = replayed.run(), replayed.run()
    assert_bits(replayed.step.state(), before)
    assert_bits(first.after, second.after)
    assert replayed.step.optimizer.steps == 0 and all(p.grad is None for p in replayed.step.model.parameters())
    assert sum(losses) == pytest.approx(first.sums.masked_loss + first.sums.pair_loss, rel=1e-6)
    for loss in replayed.parts:
        loss.backward()  # its graph is whole, and its parameters were not touched


@pytest.mark.parametrize("part", [0, 3])
def test_records_hold_what_the_model_computes(part: int, run: Path) -> None:
    replayed = replay(run)
    step, timeline = replayed.step, replayed.run()
    output = step.output(*step.parts()[part])
    for name, value in (("bert.encoder.layer.0.output:add_norm", output.last_hidden_state),
                        ("bert.pooler:tanh", output.pooler_output), ("cls.predictions:linear", output.masked_lm_logits),
                        ("cross_entropy[0]", output.masked_lm_loss), ("cross_entropy[1]", output.next_sentence_loss)):
        assert timeline.find(name, part=part).arrays["y"].tobytes() == value.data.tobytes(), name
    output.loss.backward()
    query = step.model.bert.encoder.layer[0].attention.self.query
    record = timeline.find("bert.encoder.layer.0.attention.self.query:linear", BACKWARD, part)
    assert record.arrays["dweight"].tobytes() == query.weight.grad.tobytes()
    assert record.arrays["dbias"].tobytes() == query.bias.grad.tobytes()
    # the table is the output layer, too: the lookup adds to the gradient that is there
    table = timeline.find("bert.embeddings.word_embeddings:embedding", BACKWARD, part)
    assert table.arrays["dtable"].tobytes() == step.model.bert.embeddings.word_embeddings.weight.grad.tobytes()
    assert record.place.endswith(place_of("nn/attention.py", "self.query(queries)"))


def test_records_of_the_optimiser_follow_its_formulas(run: Path) -> None:
    replayed = replay(run, 1)
    timeline, s, name = replayed.run(), replayed.step.loaded.settings, "bert.pooler.dense.weight"
    assert timeline.scale < 1.0 and timeline.lr == replayed.step.loaded.settings.peak_lr(replayed.step.model.config) / 3
    gradients = [r.arrays["gradient"].astype(float) for r in timeline.records if "gradient" in r.norms]
    assert timeline.norm == pytest.approx(np.sqrt(sum((g * g).sum() for g in gradients)), rel=1e-6)
    parts = [timeline.find("bert.pooler.dense:linear", BACKWARD, part).arrays["dweight"] for part in range(5)]
    g, update = timeline.find(name, GRADIENT).arrays["gradient"], timeline.find(name, UPDATE).arrays
    np.testing.assert_array_equal((((parts[0] + parts[1]) + parts[2]) + parts[3]) + parts[4], g)
    g = g.astype(float) * timeline.scale
    np.testing.assert_allclose(update["m"], (1 - s.beta1) * g, rtol=1e-5)
    np.testing.assert_allclose(update["v"], (1 - s.beta2) * g * g, rtol=1e-5)
    before = replayed.step.state()[f"weight.{name}"].astype(float)
    expected = before * (1 - timeline.lr * s.weight_decay) - timeline.lr * g / (abs(g) + s.eps)
    np.testing.assert_allclose(update["weight"], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(update["update"], update["weight"] - replayed.step.state()[f"weight.{name}"])
    phases = [(r.part, r.phase) for r in timeline.records]
    assert list(dict.fromkeys(phases)) == [*((p, d) for p in range(5) for d in ("forward", "backward")),
                                           (None, "gradient"), (None, "update")]


def test_norms_alone_are_the_norms_of_the_arrays(run: Path) -> None:
    kept, alone = (replay(run, 1).run(keep) for keep in (True, False))
    assert [r.norms for r in kept.records] == [r.norms for r in alone.records]
    assert all(r.arrays is None for r in alone.records) and alone.verified == kept.verified
    for r in kept.records:
        assert r.norms == {kind: pytest.approx(float(np.sqrt((x.astype(float) ** 2).sum()))) for kind, x in
                           r.arrays.items()}
        assert r.shapes == {kind: x.shape for kind, x in r.arrays.items()}


@pytest.mark.parametrize("wrong", ["clip_scale", "gradient_norm", "with_own_arrays"])
def test_a_replay_that_computes_something_else_is_caught(wrong: str, run: Path, monkeypatch: pytest.MonkeyPatch
                                                         ) -> None:
    right = getattr(replay_module, wrong)

    def mistaken(*arguments: object) -> object:
        result = right(*arguments)
        if wrong == "with_own_arrays":
            result.betas = (0.9, 0.98001)
            return result
        return result * (1 - 1e-6)

    monkeypatch.setattr(replay_module, wrong, mistaken)
    with pytest.raises(AssertionError, match=r"step 1 has other bits than the training loop in .* arrays, most of all"):
        replay(run, 1).run(keep=False)


@pytest.mark.parametrize("array", ["weight", "m", "v"])
def test_a_saved_state_with_other_bits_is_reported(array: str, copy: Copy) -> None:
    folder = copy()
    arrays, _ = read_arrays(folder / tiny.STATE, "")
    name = f"{array}.bert.pooler.dense.bias"
    arrays[name][3] = np.nextafter(arrays[name][3], np.float32(1))
    write_arrays(folder / tiny.STATE, arrays, {"format": FORMAT})
    assert replay(folder, 40).run(keep=False).verified.startswith(
        f"NOT the bits of the run: {tiny.STATE} differs in 1 of 90 arrays, most of all {name} by ")


def test_the_step_after_the_last_save_is_the_default(copy: Copy, states: States) -> None:
    folder = copy()
    step = load_step(folder)
    assert step.number == 41 and step.origin == f"the save after step 40 in {tiny.STATE}" and step.optimizer.lr == 0.0
    assert_bits(step.state(), states[40])
    (folder / tiny.STATE).unlink()
    assert load_step(folder).number == 1


def test_recomputation_in_the_run_changes_nothing(copy: Copy, states: States) -> None:
    folder = copy()
    settings = folder / "settings.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace('"recompute": false', '"recompute": true'),
                        encoding="utf-8")
    replayed = replay(folder, 7)
    assert replayed.step.loaded.settings.recompute
    timeline = replayed.run()
    assert_bits(timeline.after, states[7])
    assert timeline.find("bert.encoder.layer.0.attention.self:attention").arrays is not None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_step_that_ended_a_run_can_be_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = tiny.settings(tiny.write_corpus(tmp_path / "corpus.txt"), lr=1e30, warmup=0)
    with pytest.raises(InputError, match="training stopped at step 2"):
        pretrain(settings, folder, 1, tiny.quiet)
    timeline = replay(folder, 2).run()
    assert not timeline.after and not np.isfinite(timeline.norm) and timeline.records[-1].name == "norm"
    assert timeline.verified.startswith("verified: the training loop ends here, too")
    assert replay(folder, 1).run().after
    with pytest.raises(InputError, match=r"this run goes no further than step 2, .* replay that step"):
        replay(folder, 9)


@pytest.mark.parametrize("number", [0, -3, 41])
def test_a_step_that_the_run_does_not_have_is_refused(number: int, run: Path) -> None:
    with pytest.raises(InputError, match=f"has no step {number}: its steps are 1 .. 40"):
        load_step(run, number)


def test_a_folder_without_a_run_or_with_a_damaged_state_is_refused(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pretraining run"):
        replay(tmp_path, 3)
    folder = copy()
    content = bytearray((folder / tiny.STATE).read_bytes())
    content[-5] ^= 1
    (folder / tiny.STATE).write_bytes(content)
    for number in (3, 40, None):
        with pytest.raises(InputError, match=r"training_state.safetensors is damaged"):
            replay(folder, number)


def test_a_replay_shows_itself(copy: Copy) -> None:
    step = replay(copy(), 17)
    assert str(step).startswith("step 17 of 40") and "verified" in str(step)
    assert step._repr_html_().startswith("<pre") and "step 17 of 40" in step._repr_html_()
