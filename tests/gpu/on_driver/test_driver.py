"""The stand-in for a driver refuses what a GPU refuses, counts what it is asked for, and multiplies as cuBLAS does."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import cupy
import numpy as np
import pytest
from cupy.cuda.runtime import CUDARuntimeError

from minibert.errors import InputError
from minibert.ops.cuda.blas import PRECISIONS, gemm, in_use, precision, set_precision

from ..driver.install import install
from ..driver.record import record

RNG = np.random.default_rng(3)
SHIFT = cupy.RawKernel(r"""
extern "C" __global__ void shift(const float* x, float* y, int by) { y[threadIdx.x] = x[threadIdx.x + by]; }
""", "shift")


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ memory
@pytest.mark.parametrize("size", [1, 3, 7, 64, 1025])
def test_one_number_behind_an_array_is_a_fault(size: int) -> None:
    x, y = cupy.ones(size, np.float32), cupy.empty(size, np.float32)
    threads = min(size, 64)
    SHIFT((1,), (threads,), (x, y, np.int32(size - threads)))
    with pytest.raises(CUDARuntimeError, match=r"kernel shift: illegal address .* block \(0,0,0\) thread"):
        SHIFT((1,), (threads,), (x, y, np.int32(size - threads + 1)))


def test_memory_that_nobody_wrote_is_nan_or_minus_one() -> None:
    assert np.isnan(cupy.empty(5, np.float32).get()).all()
    assert (cupy.empty((2, 3), np.int64).get() == -1).all()


def test_what_is_freed_is_gone() -> None:
    x, y = cupy.ones(4, np.float32), cupy.empty(4, np.float32)
    address = x.data.ptr
    del x
    with pytest.raises(CUDARuntimeError, match="illegal address"):
        SHIFT((1,), (4,), (np.uint64(address), y, np.int32(0)))


def test_a_copy_stays_inside_its_allocations() -> None:
    x = cupy.ones(4, np.float32)
    with pytest.raises(CUDARuntimeError, match="beyond their allocations"):
        cupy.cuda.runtime.memcpy(x.data.ptr, x.data.ptr, 17, cupy.cuda.runtime.memcpyDeviceToDevice)


# ---------------------------------------------------------------------------------------------------------- counting
def test_what_is_asked_for_is_counted_in_order() -> None:
    n = normal(3, 5)
    with record() as asked:
        x = cupy.asarray(n)
        y = cupy.empty_like(x)
        y.data.copy_from_device(x.data, x.nbytes)
        y += x
        y @ y.T
        y.get()
    kernels = [event for event in asked.journal if event.startswith("kernel")]
    assert asked.counts == {"launches": len(kernels), "gemms": 1, "h2d": 1, "d2h": 1, "d2d": 1, "syncs": 1,
                            "allocations": 3, "graph_launches": 0}
    order = ["copy h2d 60", "copy d2d 60", "kernel cupy_add__float32_float32_float32",
             "gemm float32 TN m=3 n=3 k=5 batch=1", "copy d2h 60", "sync stream"]
    assert [event for event in asked.journal if event in order] == order


@pytest.mark.parametrize("ask", [float, bool, str, cupy.ndarray.get, cupy.ndarray.item])
def test_every_way_to_the_host_is_a_wait(ask: Callable[[cupy.ndarray], object]) -> None:
    x = cupy.ones((), np.float32)
    with record() as asked:
        ask(x)
    assert asked.counts["syncs"] == asked.counts["d2h"] == 1


# ---------------------------------------------------------------------------------------------------------- captures
@pytest.fixture
def stream() -> Iterator[cupy.cuda.Stream]:
    """A stream in use, with memory that a capture may keep."""
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.Stream(non_blocking=True) as stream, cupy.cuda.using_allocator(pool.malloc):
        yield stream


def test_a_capture_does_nothing_until_it_is_launched_and_then_every_time(stream: cupy.cuda.Stream) -> None:
    x, a = cupy.asarray(normal(3, 3)), cupy.asarray(normal(3, 3))
    x0, a0, y = x.get(), a.get(), cupy.zeros((3, 3), np.float32)
    gemm(a, a)  # builds a handle, which is not part of the graph
    stream.begin_capture()
    y += gemm(x, a)
    x *= 2.0
    graph = stream.end_capture()
    assert (y.get() == 0).all() and (x.get() == x0).all()
    with record() as asked:
        graph.launch(stream)
        graph.launch(stream)
    assert asked.counts["graph_launches"] == 2 and asked.counts["launches"] == asked.counts["gemms"] == 0
    np.testing.assert_allclose(x.get(), 4 * x0)
    np.testing.assert_allclose(y.get(), 3 * x0 @ a0, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ask", [lambda x: x.get(), lambda x: float(x[0]), lambda x: cupy.cuda.Device().synchronize(),
                                 lambda x: cupy.cuda.get_current_stream().synchronize(), lambda x: x @ x,
                                 lambda x: x[x > 0]],
                         ids=["get", "float", "device", "stream", "matmul", "mask"])
def test_a_capture_refuses_to_wait_and_to_copy(stream: cupy.cuda.Stream, ask: Callable[[cupy.ndarray], object]) -> None:
    x = cupy.ones((3, 3), np.float32)
    stream.begin_capture()
    with pytest.raises(RuntimeError):  # by the driver, or by CuPy before it asks the driver
        ask(x)
    with suppress(CUDARuntimeError):
        stream.end_capture()


def test_a_capture_that_was_broken_gives_no_graph(stream: cupy.cuda.Stream) -> None:
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="waiting for a device inside a capture"):
        cupy.cuda.Device().synchronize()
    with pytest.raises(CUDARuntimeError, match="broke the capture"):
        stream.end_capture()


def test_memory_freed_by_a_captured_step_may_not_be_used_by_its_graph() -> None:
    """Without a pool of its own, a graph writes to memory that belongs to others by then."""
    with cupy.cuda.Stream(non_blocking=True) as stream:
        x = cupy.ones(3, np.float32)
        stream.begin_capture()
        x + x
        graph = stream.end_capture()
        with pytest.raises(CUDARuntimeError, match="illegal address"):
            graph.launch(stream)


# ------------------------------------------------------------------------------------------------------------ cuBLAS
@pytest.mark.parametrize(("ta", "tb", "stack", "dtype"), list(itertools.product(
    [False, True], [False, True], [(), (4,), (2, 3)], [np.float32, np.float64])))
def test_products_are_numpys(ta: bool, tb: bool, stack: tuple[int, ...], dtype: type) -> None:
    n, k, m = 3, 5, 7
    a = RNG.standard_normal((*stack, k, n) if ta else (*stack, n, k)).astype(dtype)
    b = RNG.standard_normal((*stack, m, k) if tb else (*stack, k, m)).astype(dtype)
    y = gemm(cupy.asarray(a), cupy.asarray(b), ta, tb, alpha=0.7)
    expected = 0.7 * (a.swapaxes(-1, -2) if ta else a) @ (b.swapaxes(-1, -2) if tb else b)
    np.testing.assert_allclose(y.get(), expected, rtol=1e-5 if dtype is np.float32 else 1e-13, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [((3, 5), (5, 7)), ((2, 3, 5), (5, 7)), ((2, 3, 5), (2, 5, 7)),
                                      ((2, 1, 3, 5), (4, 5, 7))])
def test_cupys_own_products_are_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = normal(*a), normal(*b)
    np.testing.assert_allclose((cupy.asarray(x) @ cupy.asarray(y)).get(), x @ y, rtol=1e-5, atol=1e-6)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test chooses ends with it."""
    monkeypatch.setitem(in_use, "precision", "float32")


@pytest.mark.parametrize(("name", "bits"), [("tf32", 10), ("bfloat16", 7)])
def test_a_factor_keeps_its_first_bits(name: str, bits: int, chosen: None) -> None:
    """To the nearest, ties to even, in either factor."""
    set_precision(name)
    last, one = 2.0**-bits, cupy.ones((1, 1), np.float32)
    for x, kept in ((1 + last, 1 + last), (1 + last / 2, 1), (1 + 3 * last / 2, 1 + 2 * last),
                    (1 + last / 2 + 2**-20, 1 + last), (1 + last / 2 - 2**-20, 1), (2 - 2**-20, 2),
                    (-1 - last / 2, -1), (2**-100 * (1 + last), 2**-100 * (1 + last)), (np.inf, np.inf)):
        assert float(gemm(one * np.float32(x), one)[0, 0]) == float(gemm(one, one * np.float32(x))[0, 0]) == kept
    assert np.isnan(gemm(cupy.empty((1, 1), np.float32), one).get())
    assert float(gemm(one.astype(np.float64) + 2**-40, one.astype(np.float64))[0, 0]) == 1 + 2**-40
    with record() as asked:
        gemm(one, one)
    assert asked.journal == [f"gemm float32 as {name} NN m=1 n=1 k=1 batch=1"]
    set_precision("float32")
    assert float(gemm(one * np.float32(1 + 2**-20), one)[0, 0]) == 1 + 2**-20


def test_a_precision_that_is_none_is_refused(chosen: None) -> None:
    assert PRECISIONS == ("float32", "tf32", "bfloat16") and precision() == "float32"
    set_precision("tf32")
    with pytest.raises(InputError, match="is float32, tf32 or bfloat16, not 'float16'"):
        set_precision("float16")
    assert precision() == "tf32"


# ---------------------------------------------------------------------------------------------------------- the rest
def test_what_runs_only_on_gpus_is_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"cupy\.random\.standard_normal runs kernels that CuPy ships"):
        cupy.random.standard_normal(3)


def test_it_is_too_late_once_cupy_is_imported() -> None:
    with pytest.raises(RuntimeError, match="cupy is imported already"):
        install()
