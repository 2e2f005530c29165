"""The choice of a device with the real CuPy: its own errors, its own memory pool, and both ways to compute there."""

from typing import Any

import cupy
import numpy as np
import pytest
from models.toys import toy_batch, toy_config, toy_model

from minibert import BertForPreTraining, InputError
from minibert.backend import OutOfMemory, choose_device, device_of, room_on_gpu, to_host

from ..driver.record import record

INSUFFICIENT_DRIVER, NO_DEVICE, DRIVER_MISMATCH = 35, 100, 803  # cudaError_t


def test_auto_finds_the_gpu() -> None:
    assert choose_device("auto") == choose_device("cuda") == "cuda"


@pytest.mark.parametrize(("status", "says"), [
    (INSUFFICIENT_DRIVER, "supports CUDA 12.2, and the CuPy installed here needs 13.0: update the driver, or pip uni"),
    (NO_DEVICE, "the NVIDIA driver finds no GPU"), (DRIVER_MISMATCH, "cannot be used (cudaErrorSystemDriverMismatch")])
def test_errors_of_cuda_are_recognised(status: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = cupy.cuda.runtime

    def count() -> int:
        raise runtime.CUDARuntimeError(status)

    monkeypatch.setattr(cupy.cuda, "_available", None)
    monkeypatch.setattr(runtime, "getDeviceCount", count)
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 12020)
    assert choose_device("auto") == "cpu"
    with pytest.raises(InputError) as caught:
        choose_device("cuda")
    assert says in str(caught.value)


def test_a_full_pool_is_explained() -> None:
    pool = cupy.cuda.MemoryPool()
    pool.set_limit(3 << 20)
    with cupy.cuda.using_allocator(pool.malloc):
        taken = cupy.empty(1 << 20, np.uint8)
        with pytest.raises(OutOfMemory) as caught, room_on_gpu("make it smaller"):
            cupy.empty(5 << 20, np.uint8)
    assert taken.size and str(caught.value) == (
        "the GPU is out of memory: 5.0 MiB were asked for, where this process holds 1.0 MiB, and 8.0 GiB of the GPU's "
        "16.0 GiB are free: make it smaller")


def float32_model() -> BertForPreTraining:
    model = BertForPreTraining(toy_config()).train()
    for p, of_toy in zip(model.parameters(), toy_model().parameters(), strict=True):
        p.assign(of_toy.data)
    return model


def learn(model: BertForPreTraining) -> tuple[set[str], dict[str, Any]]:
    """The kernels of ours that one step launched, forward and backward, and the gradients."""
    model.zero_grad()
    model.bert.dropout_stream.seek(3)
    with record() as asked:
        model(**toy_batch()).loss.backward()
    kernels = {event.split()[1] for event in asked.journal if event.startswith("kernel")}
    return ({name for name in kernels if not name.startswith("cupy")},
            {name: to_host(p.grad) for name, p in model.named_parameters()})


@pytest.mark.parametrize("recompute", [False, True])
def test_plain_formulas_forward_and_backward(recompute: bool) -> None:
    """No kernel of ours is launched, and the numbers are those of the CPU."""
    found = {}
    for how, model in {"cpu": float32_model(), "fast": float32_model().to("cuda"),
                       "plain": float32_model().to("cuda", fast=False)}.items():
        model.bert.encoder.recompute = recompute
        ours, found[how] = learn(model)
        assert bool(ours) == (how == "fast"), ours
    for how in ("fast", "plain"):
        for name, gradient in found["cpu"].items():
            largest = max(np.abs(gradient).max(), 1e-2)
            assert np.abs(found[how][name] - gradient).max() < 2e-5 * largest, name


def test_there_and_back_nothing_is_lost() -> None:
    model = float32_model()
    model(**toy_batch()).loss.backward()
    stream, before = model.bert.dropout_stream, [(p.data.copy(), p.grad.copy()) for p in model.parameters()]
    for where in ("cuda", "cpu"):
        model.to(where)
        assert model.training and model.bert.dropout_stream is stream and stream.step == 1
        for p, (data, grad) in zip(model.parameters(), before, strict=True):
            assert device_of(p.data) == device_of(p.grad) == where
            np.testing.assert_array_equal(to_host(p.data), data, strict=True)
            np.testing.assert_array_equal(to_host(p.grad), grad, strict=True)
