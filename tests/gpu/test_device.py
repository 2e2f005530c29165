"""Which device is chosen, and what is said where none can be: on stand-ins for CuPy, whole and broken."""

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_config, toy_model

from minibert import BertForPreTraining, BertModel, InputError, backend, gpu_faults
from minibert.backend import OutOfMemory, choose_device, device_of, room_on_gpu, to_device, to_host
from minibert.nn import Module
from minibert.ops import registry

from . import strict_cupy
from .driver import build

NVRTC = 'Failure finding "libnvrtc.so.13": No such file: libnvrtc.so.13\n  listdir("/usr/lib"):\n    libnvvm.so'
BANNER = f"\n{'=' * 64}\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: undefined symbol: f\n{'=' * 64}\n"


class OutOfMemoryError(MemoryError):
    """In the words of CuPy's."""

    def __init__(self, size: int, total: int) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


OutOfMemoryError.__module__ = "cupy.cuda.memory"


def raising(error: BaseException) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error
    return fail


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The installed packages of CuPy."""
    installed = ["cupy-cuda13x"]
    monkeypatch.setattr(gpu_faults, "cupy_packages", lambda: installed)
    return installed


@pytest.fixture
def runtime(device: ModuleType, packages: list[str], monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """cupy.cuda.runtime of a CuPy that finds no device, to be made to answer errors."""
    changed = SimpleNamespace(**vars(strict_cupy.cuda.runtime))
    monkeypatch.setattr(strict_cupy.cuda, "runtime", changed)
    monkeypatch.setattr(strict_cupy.cuda, "is_available", lambda: False)
    return changed


def refusal(name: str = "cuda") -> str:
    """The sentence, where "auto" finds no fault with the cpu."""
    assert choose_device("auto") == "cpu"
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_usable_gpu_is_chosen(device: ModuleType) -> None:
    assert [choose_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    assert device_of(to_device(np.ones(3), "auto")) == "cuda"


@pytest.mark.parametrize("name", ["gpu", "cuda:0", "CPU", "", None])
def test_unknown_devices_are_refused(name: Any) -> None:
    for choose in (choose_device, lambda name: to_device(np.ones(3), name), lambda name: toy_model().to(name)):
        with pytest.raises(InputError, match=f"there is no device {name!r}: choose one of auto, cpu, cuda"):
            choose(name)


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(gpu_faults, "distributions", list)
    assert refusal() == "computing on a GPU needs CuPy: pip install 'minibert[gpu]'"


def test_auto_imports_nothing_without_a_package_or_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(backend, "cupy", raising(AssertionError("it was imported")))
    for spec, driver in ((None, None), (object(), "libnone.so"), (object(), None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
        monkeypatch.setattr(backend, "DRIVER", driver)
        if spec and driver is None:
            with pytest.raises(AssertionError, match="it was imported"):
                choose_device("auto")
        else:
            assert choose_device("auto") == "cpu"


def test_without_a_driver(runtime: SimpleNamespace) -> None:
    runtime.driverGetVersion = lambda: 0
    assert "no NVIDIA driver (libcuda): install one" in refusal()


@pytest.mark.parametrize("visible", [None, "-1"])
def test_without_a_gpu(runtime: SimpleNamespace, visible: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.getDeviceCount = raising(strict_cupy.CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    said = refusal()
    assert said.startswith("the NVIDIA driver finds no GPU")
    assert ("CUDA_VISIBLE_DEVICES is '-1', which may hide it" in said) == bool(visible)


@pytest.mark.parametrize(("driver", "wheel", "says", "advice"), [
    (12040, 13020, "supports CUDA 12.4, and the CuPy installed here needs 13.0", "minibert[gpu-cuda12]"),
    (11080, 13020, "supports CUDA 11.8, and the CuPy installed here needs 13.0", ""),
    (11080, 12090, "supports CUDA 11.8, and the CuPy installed here needs 12.0", "")])
def test_with_an_old_driver(runtime: SimpleNamespace, driver: int, wheel: int, says: str, advice: str) -> None:
    runtime.driverGetVersion, runtime.runtimeGetVersion = (lambda: driver), (lambda: wheel)
    runtime.getDeviceCount = raising(strict_cupy.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version "
                                                                  "is insufficient for CUDA runtime version"))
    said = refusal()
    assert says in said and "update the driver" in said
    assert ("minibert[gpu-cuda12]" in said) == bool(advice)


def test_with_two_packages_of_cupy(runtime: SimpleNamespace, packages: list[str],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    packages.insert(0, "cupy-cuda12x")
    says = "cupy-cuda12x and cupy-cuda13x are installed at once, and overwrite each other: pip uninstall cupy-cuda12x c"
    runtime.getDeviceCount = raising(strict_cupy.CUDARuntimeError("cudaErrorInsufficientDriver: too old"))
    assert says in refusal()
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert says in refusal()


def test_the_packages_of_cupy_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cupy-cuda12x", "cupy", "cupyx-tools", "CuPy-CUDA13x", "numpy", "cupy-rocm-7-0", "my-cupy", None]
    monkeypatch.setattr(gpu_faults, "distributions",
                        lambda: [SimpleNamespace(metadata={"Name": name}) for name in names])
    assert gpu_faults.cupy_packages() == ["CuPy-CUDA13x", "cupy", "cupy-cuda12x", "cupy-rocm-7-0"]


def test_when_the_driver_itself_fails(runtime: SimpleNamespace) -> None:
    runtime.getDeviceCount = raising(strict_cupy.CUDARuntimeError("cudaErrorSystemDriverMismatch: system has "
                                                                  "unsupported display driver"))
    assert "cannot be used (cudaErrorSystemDriverMismatch: system has" in refusal()


@pytest.mark.parametrize(("error", "says"), [
    (RuntimeError(NVRTC), "cannot load libnvrtc.so.13, a part of CUDA: pip install 'cupy-cuda13x[ctk]'"),
    (ImportError("libcublas.so.12: cannot open shared object file: No such file"), "cannot load libcublas.so.12"),
    (ImportError("DLL load failed: cublas64_13.dll"), "cannot load cublas64_13.dll"),
    (RuntimeError("Failed to find CUDA headers"), "cannot find CUDA's headers: pip install 'cupy-cuda13x[ctk]'"),
    (ImportError(BANNER), "is installed but broken (ImportError: undefined symbol: f): pip install --force-reinstall"),
    (RuntimeError("nvrtc: error: invalid value for --gpu-architecture (-arch)"), "this GPU is too old for the CUDA of "
     "cupy-cuda13x: pip uninstall cupy-cuda13x and pip install 'minibert[gpu-cuda12]'"),
    (RuntimeError("cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"),
     "the GPU does not compute (cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable): is"),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "the GPU does not compute (CUBLAS_STATUS_ALLOC_FAILED): is it full"),
    (ValueError(), "(cupy-cuda13x) is installed but broken (ValueError): pip install --force-reinstall cupy-cuda13x")])
def test_a_gpu_that_cannot_compute(device: ModuleType, packages: list[str], error: Exception, says: str,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_cupy, "ones", raising(error), raising=False)
    assert says in refusal()


def test_a_cupy_without_its_files(packages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip leaves it behind when another package of CuPy is uninstalled."""
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))
    assert "is installed but broken (module 'cupy' has no attribute 'cuda')" in refusal()


def test_a_full_gpu_is_explained(device: ModuleType) -> None:
    with pytest.raises(OutOfMemory) as caught, room_on_gpu("lower --micro-batch"):
        raise OutOfMemoryError(5 << 29, 7 << 20)
    assert str(caught.value) == ("the GPU is out of memory: 2.5 GiB were asked for, where this process holds 7.0 MiB, "
                                 "and 0.8 GiB of the GPU's 3.0 GiB are free: lower --micro-batch")
    with pytest.raises(MemoryError, match="of the host"), room_on_gpu("lower --micro-batch"):
        raise MemoryError("of the host")


def test_a_model_that_does_not_fit_stays_where_it_is(device: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model()
    versions = [p.version for p in model.parameters()]
    copies, copied = strict_cupy.asarray, []

    def asarray(x: Any) -> Any:
        copied.append(x)
        return copies(x) if len(copied) < 9 else raising(OutOfMemoryError(123, 456))()

    monkeypatch.setattr(strict_cupy, "asarray", asarray)
    with pytest.raises(OutOfMemory, match=r"out of memory: .* this model needs a larger GPU, or the cpu"):
        model.to("cuda")
    assert {device_of(p.data) for p in model.parameters()} == {"cpu"}
    assert [p.version for p in model.parameters()] == versions


def state(model: BertForPreTraining) -> dict[str, Any]:
    """Everything that a change of device must not change."""
    found: dict[str, Any] = {name: to_host(p.data).copy() for name, p in model.named_parameters()}
    found |= {f"d{name}": None if p.grad is None else to_host(p.grad).copy() for name, p in model.named_parameters()}
    found["training"] = [module.training for module in model.modules()]
    found["stream"] = model.bert.dropout_stream
    found["place"] = (model.bert.dropout_stream.seed, model.bert.dropout_stream.step, model.bert.dropout_stream.row)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_nothing_is_lost(device: ModuleType, dtype: Any) -> None:
    config = toy_config(position_embedding_type="sinusoidal")
    model = BertForPreTraining(config, dtype=dtype).train()
    model(**toy_batch()).loss.backward()
    model.cls.seq_relationship.bias.grad = None
    model.bert.pooler.eval()
    model.bert.dropout_stream.seek(3, 2)
    before = state(model)
    for where in ("cuda", "cuda", "cpu", "cpu"):
        assert {device_of(p.data) for p in model.to(where).parameters()} == {where}
        assert device_of(model.bert.embeddings._sinusoids) == where
        assert {device_of(p.grad) for p in model.parameters() if p.grad is not None} == {where}
        for name, value in state(model).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, before[name], strict=True)
            else:
                assert value == before[name], name


def test_a_graph_outlives_a_move_that_moves_nothing(device: ModuleType) -> None:
    model = toy_model()
    loss = model(**toy_batch()).loss
    model.to("cpu")
    loss.backward()
    loss = model(**toy_batch()).loss
    model.to("cuda")
    with pytest.raises(InputError, match="was changed after"):
        loss.backward()


def test_models_are_built_and_loaded_on_the_device(device: ModuleType, tmp_path: Path) -> None:
    config = toy_config()
    here, there = BertForPreTraining(config, seed=3), BertForPreTraining(config, seed=3, device="cuda")
    here.save_pretrained(tmp_path / "here")
    there.save_pretrained(tmp_path / "there")
    assert {device_of(p.data) for p in there.parameters()} == {"cuda"}
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    for kind in (BertForPreTraining, BertModel):
        for where in ("cpu", "cuda"):
            loaded = kind.from_pretrained(tmp_path / "there", device=where)
            assert {device_of(p.data) for p in loaded.parameters()} == {where} and not loaded.training
    assert {device_of(p.data) for p in BertModel(config, device="auto").parameters()} == {"cuda"}
    np.testing.assert_array_equal(to_host(there.bert.pooler.dense.weight.data), here.bert.pooler.dense.weight.data)


def test_a_device_that_is_missing_is_said_before_a_folder_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no device 'gpu'"):
        BertForPreTraining.from_pretrained(tmp_path / "nothing", device="gpu")


class Asks(Module):
    """What the operations inside it would compute in."""

    def __init__(self, inner: Module | None = None) -> None:
        self.inner = inner

    def forward(self) -> list[bool]:
        return [registry.preference.twins, *([*self.inner(), registry.preference.twins] if self.inner else [])]


def test_plain_formulas_for_a_module_and_all_that_runs_inside_it() -> None:
    inner = Asks()
    middle = Asks(inner)
    outer = Asks(middle)
    assert outer() == [True] * 5
    middle.to("cpu", fast=False)
    assert outer() == [True, False, False, False, True] and inner() == [False] and registry.preference.twins
    assert copy.deepcopy(outer)() == [True, False, False, False, True]
    middle.to("cpu")
    assert outer() == [True] * 5


def test_plain_formulas_end_with_an_error() -> None:
    broken = Module().to("cpu", fast=False)
    with pytest.raises(NotImplementedError):
        broken()
    assert registry.preference.twins


@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
@pytest.mark.skipif(backend._worth_importing(), reason="there is a driver here")
def test_the_real_cupy_without_a_driver() -> None:
    program = ("import sys\nfrom minibert.backend import choose_device\nassert choose_device('auto') == 'cpu'\n"
               "assert 'cupy' not in sys.modules\nchoose_device('cuda')")
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True,
                          encoding="utf-8")
    assert done.stderr.splitlines()[-1].endswith("until `nvidia-smi` lists the GPU, or compute on the cpu")
