"""NVIDIA's own compiler takes every kernel that a step of training launches, for three generations of GPUs.

It is stricter than g++, which compiles the kernels for the stand-in.
"""

from importlib.metadata import PackageNotFoundError, version

import pytest
from cupy.cuda import compiler
from train import tiny

from minibert.ops import registry
from minibert.ops.cuda.launcher import module

from ..driver.install import Built, built
from .test_model import float32_model, learn
from .test_training import prepared, taken, trainer_of

ARCHITECTURES = ("75", "90", "100")  # Turing, Hopper, Blackwell
PACKAGE = "nvidia-cuda-nvrtc"

try:
    version(PACKAGE)
except PackageNotFoundError:
    pytestmark = pytest.mark.skip(reason=f"NVIDIA's compiler is not installed: pip install '{PACKAGE}==13.0.*'")


def compiled(kernel: Built, architecture: str) -> bytes:
    options = (*kernel.options, "-ftz=true")  # CuPy's own
    return compiler.compile_using_nvrtc(kernel.source, options, architecture, name_expressions=kernel.instances)[0]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """All that a step of training needs, with twins and without, and all kernels of the package."""
    folder = tmp_path_factory.mktemp("nvrtc")
    run = prepared(folder / "run", tiny.write_corpus(folder / "corpus.txt"))
    for fast in (True, False):
        taken(trainer_of(run, "cuda", fast=fast), 1)
    model = float32_model().to("cuda")
    for twins in (True, False):
        for labelled_only in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(registry.preference, "twins", twins)
                learn(model, labelled_only)
    module().compile()
    return built


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles(kernels: list[Built], architecture: str) -> None:
    assert len(kernels) > 40 and any("masked_softmax_backward" in kernel.source for kernel in kernels)
    for kernel in kernels:
        assert len(compiled(kernel, architecture)) > 1000


def test_what_only_a_cpu_has_does_not_compile() -> None:
    for wrong in ("INFINITY", "std::sqrt(2.0f)", "M_PIf"):
        source = f'extern "C" __global__ void f(float* x) {{ *x = {wrong}; }}'
        with pytest.raises(compiler.CompileException, match=wrong.split(":")[0]):
            compiled(Built(source, ("-std=c++17",), None), "90")
