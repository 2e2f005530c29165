"""What is said about the machine, and when its BLAS is warned of."""

import pytest
import threadpoolctl

from minibert.bench.gemm import GemmPeak
from minibert.bench.machine import Blas, find_blas, kernel_warnings, this_machine
from minibert.bench.memory import peak_memory_mb

NEW = {"fpu", "avx", "avx2", "avx512f"}


@pytest.mark.parametrize("kernel", ["Prescott", "Nehalem", "Sandybridge", "Core2", "Barcelona"])
def test_an_old_kernel_on_a_newer_processor_is_warned_of(kernel: str) -> None:
    (warning,) = kernel_warnings(Blas("OpenBLAS", "0.3.31", kernel), NEW, {})
    assert kernel in warning and "avx2 and avx512f" in warning and "newer NumPy" in warning


@pytest.mark.parametrize(("blas", "flags"), [
    (Blas("OpenBLAS", "0.3.31", "SkylakeX"), NEW), (Blas("OpenBLAS", "0.3.31", "Haswell"), NEW),
    (Blas("OpenBLAS", "0.3.31", "Nehalem"), {"sse4_2"}), (Blas("OpenBLAS", "0.3.31", "neoversen1"), set()),
    (Blas("MKL", "2025", ""), NEW), (Blas("accelerate", "", ""), set())])
def test_a_fitting_kernel_is_not_warned_of(blas: Blas, flags: set[str]) -> None:
    assert kernel_warnings(blas, flags, {"PATH": "/bin", "OPENBLAS_CORETYPE": ""}) == []


def test_a_variable_that_chose_the_kernel_is_to_be_unset() -> None:
    variables = {"OPENBLAS_CORETYPE": "Prescott"}
    warnings = kernel_warnings(Blas("OpenBLAS", "0.3.31", "Prescott"), NEW, variables)
    assert len(warnings) == 2
    assert "OPENBLAS_CORETYPE=Prescott" in warnings[0] and "unset OPENBLAS_CORETYPE" in warnings[0]
    assert "newer NumPy" not in warnings[1]  # the variable is to blame


def test_the_machine_tells_its_names() -> None:
    machine = this_machine()
    assert machine.cpu and machine.blas.library and str(machine.blas).startswith(machine.blas.library)


def test_a_blas_that_threadpoolctl_does_not_know_has_the_name_that_numpy_was_built_with() -> None:
    assert find_blas([{"user_api": "openmp", "internal_api": "openmp"}]).library


def test_peak_memory_is_in_megabytes() -> None:
    peak = peak_memory_mb()
    assert peak is None or 10.0 < peak < 1e5


def test_the_peak_of_matrix_products_only_rises_and_blas_keeps_its_threads() -> None:
    before = threadpoolctl.threadpool_info()
    gemm = GemmPeak(2)
    assert gemm.gflops == 0.0
    gemm.measure()
    first = gemm.gflops
    gemm.measure()
    assert gemm.gflops >= first > 0.0
    assert threadpoolctl.threadpool_info() == before
