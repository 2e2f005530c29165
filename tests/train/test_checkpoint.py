"""A training state is loaded exactly, or refused with a reason and nothing changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays, write_arrays
from minibert.models import BertConfig, BertForPreTraining
from minibert.optim import AdamW
from minibert.train.checkpoint import load_checkpoint, save_checkpoint

SEED = 7


def trained(hidden: int = 8, vocab: int = 13, steps: int = 3, seed: int = 0) -> tuple[BertForPreTraining, AdamW]:
    """A small model after a few updates with random gradients."""
    model = BertForPreTraining(BertConfig(vocab_size=vocab, hidden_size=hidden, num_hidden_layers=1,
                                          num_attention_heads=2, intermediate_size=12, max_position_embeddings=9))
    optimizer = AdamW(model.parameters(), 1e-2)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        for p in optimizer.parameters:
            p.grad = generator.standard_normal(p.shape).astype(np.float32)
        optimizer.step()
    return model, optimizer


def everything(model: BertForPreTraining, optimizer: AdamW) -> list[bytes]:
    """Weights, both moments and the step."""
    arrays = [p.data for p in model.parameters()] + optimizer.m + optimizer.v
    return [array.tobytes() for array in arrays] + [str(optimizer.steps).encode()]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "training_state.safetensors"
    save_checkpoint(path, *trained(), SEED)
    return path


def refusal(path: Path, seed: int = SEED, **shape: int) -> str:
    """Why a state is refused by a model that other updates have changed; it must not change any more."""
    model, optimizer = trained(**shape, steps=1, seed=1)
    before = everything(model, optimizer)
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, model, optimizer, seed)
    assert everything(model, optimizer) == before
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_is_loaded_to_the_bit(saved: Path) -> None:
    model, optimizer = trained(steps=1, seed=1)
    load_checkpoint(saved, model, optimizer, SEED)
    assert everything(model, optimizer) == everything(*trained())
    assert optimizer.steps == 3


def test_an_update_after_loading_equals_one_without_the_detour(saved: Path) -> None:
    """Moments or the step forgotten show in the next update."""
    results = []
    for model, optimizer in (trained(), trained(steps=0)):
        if optimizer.steps == 0:
            load_checkpoint(saved, model, optimizer, SEED)
        for p in optimizer.parameters:
            p.grad = np.ones_like(p.data)
        optimizer.step()
        results.append(everything(model, optimizer))
    assert results[0] == results[1]


def test_saving_the_same_state_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again", *trained(), SEED)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_truncated_state_is_refused(share: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[:int(share * len(content))])
    assert "is damaged or not a safetensors file" in refusal(saved)


def test_a_state_with_one_bit_turned_is_refused_or_means_the_same(saved: Path) -> None:
    """Bits all over the file, many of them in the names, shapes and offsets at its front."""
    content, expected, refused = saved.read_bytes(), everything(*trained()), 0
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(0, header, 11), *range(header, len(content), 211)]
    model, optimizer = trained(steps=1, seed=1)
    for place in places:
        before, flipped = everything(model, optimizer), bytearray(content)
        flipped[place] ^= 1 << place % 8
        saved.write_bytes(flipped)
        try:
            load_checkpoint(saved, model, optimizer, SEED)
        except InputError:
            refused += 1
            assert everything(model, optimizer) == before, place
        else:
            assert everything(model, optimizer) == expected, place
    assert refused > 0.9 * len(places)


def test_a_model_is_not_a_training_state(tmp_path: Path) -> None:
    trained()[0].save_pretrained(tmp_path)
    assert "is not a training state of minibert: resume from a run folder" in refusal(tmp_path / "model.safetensors")


def test_a_state_of_another_seed_is_refused(saved: Path) -> None:
    assert "belongs to a run with seed 7, and these settings say seed 8" in refusal(saved, seed=8)


@pytest.mark.parametrize("shape", [{"hidden": 10}, {"vocab": 14}])
def test_a_state_of_another_shape_is_refused(shape: dict[str, int], saved: Path) -> None:
    assert "belongs to a model of another shape" in refusal(saved, **shape)


def test_a_state_that_was_never_saved_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "does not exist: the run was stopped before its first save" in refusal(tmp_path / "none")


@pytest.mark.parametrize("spoil", [
    lambda arrays: arrays.pop("step"),
    lambda arrays: arrays.pop("seed"),
    lambda arrays: arrays.update(step=np.zeros(2, np.int64)),
])
def test_a_state_without_its_step_is_refused(spoil: Callable[[dict[str, np.ndarray]], object], saved: Path) -> None:
    arrays, metadata = read_arrays(saved, "")
    spoil(arrays)
    write_arrays(saved, arrays, {"format": metadata["format"]})
    assert "it does not say which step it belongs to" in refusal(saved)


@pytest.mark.parametrize("name", ["m.bert.pooler.dense.bias", "v.cls.predictions.bias",
                                  "weight.bert.pooler.dense.bias"])
def test_a_state_that_lacks_an_array_is_refused(name: str, saved: Path) -> None:
    arrays, metadata = read_arrays(saved, "")
    del arrays[name]
    write_arrays(saved, arrays, {"format": metadata["format"]})
    assert "belongs to a model of another shape" in refusal(saved)
