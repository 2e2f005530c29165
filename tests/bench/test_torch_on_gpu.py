"""PyTorch's step on a GPU takes the same step; here on the CPU, which stands in for the GPU."""

import importlib.util
from pathlib import Path

import pytest

from minibert.bench.gpu.step import loss_of, new_model
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.bench.workers import Worker, WorkerEnded

pytestmark = pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
                                reason="needs torch and transformers")
SHAPE = Shape(2, 24, 3, 61, 3, 13)
STAND_IN = """
import torch
torch.cuda.is_available = lambda: True
torch.cuda.synchronize = lambda: None
torch.cuda.max_memory_reserved = lambda: 12345678
torch.Tensor.pin_memory = lambda tensor: tensor.clone()
from minibert.bench.peers import torch_cuda_step as worker
from minibert.bench.served import serve
worker.DEVICE = "cpu"
serve(worker.build)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "torch_on_stand_in.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "torch_on_stand_in"


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("tf32", 5e-4), ("bfloat16", 3e-3)])
def test_it_begins_with_our_loss_and_learns(module: str, tmp_path: Path, precision: str, tolerance: float) -> None:
    model = new_model(SHAPE)
    model.save_pretrained(tmp_path)
    expected = loss_of(model, synthetic_batch(SHAPE))
    with Worker(module, SHAPE, 1, weights=str(tmp_path), precision=precision, compiled="") as worker:
        assert worker.facts["loss"] == pytest.approx(expected, rel=tolerance)
        assert worker.facts["version"].startswith("PyTorch ")
        ms, host_ms = worker.ask("round")
        assert ms > 0.0 and host_ms > 0.0
        assert worker.ask("gpu_memory") == pytest.approx(12.345678)
        worker.ask("step")


def test_without_cuda_it_says_what_it_needs(tmp_path: Path) -> None:
    import torch
    if torch.cuda.is_available():
        pytest.skip("this PyTorch has a GPU")
    with pytest.raises(WorkerEnded, match="needs a PyTorch with CUDA, and a GPU that it finds"):
        Worker("minibert.bench.peers.torch_cuda_step", SHAPE, 1, weights=str(tmp_path), precision="tf32", compiled="")
