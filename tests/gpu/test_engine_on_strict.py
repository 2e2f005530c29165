"""The whole engine on a device as strict as CuPy: the same numbers, no array on the wrong side, no hidden copy."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from models.toys import gradients, toy_batch, toy_config, toy_model
from ops.cases import CASES

from minibert import AdamW, BertForPreTraining, InputError, gpu_faults
from minibert.backend import beside, device_of, is_array, to_device, to_host
from minibert.ops.registry import REGISTRY
from minibert.optim import gradient_norm
from minibert.train.checkpoint import load_checkpoint, save_checkpoint

from . import strict_cupy

OPERATIONS = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]


def moved(x: Any) -> Any:
    """Floating-point arrays on the device; ids, masks and labels stay where a model gets them, on the host."""
    return to_device(x, "cuda") if is_array(x) and x.dtype.kind == "f" else x


@pytest.mark.parametrize(("name", "number"), OPERATIONS)
def test_every_operation_gives_the_same_on_the_device(device: ModuleType, name: str, number: int) -> None:
    op, (args, hyper) = REGISTRY[name], CASES[name][number]
    y, saved = op.forward(*args, **hyper)
    dy = np.random.default_rng(number).standard_normal(np.shape(y))
    expected = [np.asarray(y), *op.backward(dy, *saved)]
    y, saved = op.forward(*map(moved, args), **hyper)
    dy = moved(dy)
    device.events.clear()
    found = [y, *op.backward(dy, *saved)]
    assert not device.events["h2d"] + device.events["d2h"] + device.events["sync"]
    for mine, numpys in zip(found, expected, strict=True):
        assert mine is numpys is None or device_of(mine) == "cuda"
        if mine is not None:
            np.testing.assert_allclose(to_host(mine), numpys, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("options", [
    {}, {"labelled_only": True}, {"output_attentions": True, "output_hidden_states": True}], ids=str)
@pytest.mark.parametrize("config", [
    {}, {"norm_position": "pre"}, {"position_embedding_type": "sinusoidal"}, {"tie_word_embeddings": False},
    {"hidden_act": "gelu_new"}], ids=str)
def test_a_model_gives_the_same_on_the_device(device: ModuleType, config: dict[str, Any],
                                                  options: dict[str, Any]) -> None:
    batch, losses, found = toy_batch(), [], []
    for where in ("cpu", "cuda"):
        model = toy_model(**config).train().to(where)
        output = model(**batch, **options)
        device.events.clear()
        output.loss.backward()
        assert not device.events["h2d"] + device.events["d2h"] + device.events["sync"]
        losses.append(output.loss.item())
        found.append({name: to_host(gradient) for name, gradient in gradients(model).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    for name, gradient in found[0].items():
        np.testing.assert_allclose(found[1][name], gradient, rtol=1e-10, atol=1e-13, err_msg=name)


def test_recomputation_works_on_the_device(device: ModuleType) -> None:
    batch, model = toy_batch(), toy_model().train().to("cuda")
    model(**batch).loss.backward()
    plain = gradients(model)
    model.bert.encoder.recompute = True
    model.bert.dropout_stream.seek(0)
    model(**batch).loss.backward()
    for name, gradient in gradients(model).items():
        np.testing.assert_array_equal(to_host(gradient), to_host(plain[name]), err_msg=name)


def trained(model: BertForPreTraining, optimizer: AdamW, steps: int) -> None:
    for _ in range(steps):
        model(**toy_batch(optimizer.steps)).loss.backward()
        gradient_norm(optimizer.parameters)
        optimizer.step()
        optimizer.zero_grad()


def test_training_goes_on_after_every_change_of_device(device: ModuleType, tmp_path: Path) -> None:
    """Saved on one device and resumed on the other, there and back, a run takes the steps it takes on one."""
    reference = toy_model().train()
    trained(reference, AdamW(reference.parameters(), 1e-3), 6)
    for step, where in ((0, "cpu"), (2, "cuda"), (4, "cpu")):
        model = toy_model().train().to(where)
        optimizer = AdamW(model.parameters(), 1e-3)
        if step:
            load_checkpoint(tmp_path / "state.safetensors", model, optimizer, 0)
        model.bert.dropout_stream.seek(step)
        trained(model, optimizer, 2)
        save_checkpoint(tmp_path / "state.safetensors", model, optimizer, 0)
    for (name, mine), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, other.data, rtol=1e-9, atol=1e-11, err_msg=name)


def test_a_model_is_saved_from_the_device_and_comes_back_unchanged(device: ModuleType, tmp_path: Path) -> None:
    model = BertForPreTraining(toy_config())
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.to("cuda").save_pretrained(tmp_path)
    assert {device_of(p.data) for p in model.parameters()} == {"cuda"}
    for other in (model.to("cpu"), BertForPreTraining.from_pretrained(tmp_path)):
        for name, array in other.state_dict().items():
            np.testing.assert_array_equal(array, before[name])


def test_numbers_are_shown_wherever_they_are(device: ModuleType) -> None:
    here, there = toy_model(), toy_model().to("cuda")
    assert repr(there.cls.predictions.bias) == repr(here.cls.predictions.bias)


def test_without_a_gpu_one_sentence_says_so(device: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model()
    monkeypatch.setattr(strict_cupy.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="the NVIDIA driver finds no GPU"):
        model.to("cuda")
    monkeypatch.setattr(gpu_faults, "cupy_packages", list)  # none, whatever is installed here
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(InputError, match="needs CuPy: pip install"):
        model.to("cuda")
    with pytest.raises(InputError, match="there is no device 'gpu': choose one of auto, cpu, cuda"):
        model.to("gpu")
    assert {device_of(p.data) for p in model.parameters()} == {"cpu"}


def test_beside_moves_only_arrays_and_only_when_needed(device: ModuleType) -> None:
    x, y = np.ones(3), to_device(np.ones(3), "cuda")
    assert beside(x, x) is x and beside(y, y) is y and beside(None, y) is None and beside(2, y) == 2
    assert device_of(beside(x, y)) == "cuda" and device_of(beside(y, x)) == "cpu"
