"""The simulator sees what kernels may not do; what it does not see, no test of a kernel could."""

import ctypes
import shutil

import numpy as np
import pytest

from .cuda_on_cpu.simulator import SCHEDULES, Kernel, KernelError, Module, build, guarded

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the simulator needs g++")
SOURCE = r"""
__device__ float warp_sum(float v) {
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}
extern "C" __global__ void row_sums(const float* x, float* y, int d) {
    __shared__ float part[32];
    float v = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x) v += x[blockIdx.x * d + i];
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0.0f;
    if (threadIdx.x < 32) {
        v = warp_sum(v);
        if (threadIdx.x == 0) y[blockIdx.x] = v;
    }
}
extern "C" __global__ void scale(float* x, float s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= s;
}
extern "C" __global__ void count(const int* ids, float* y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(y + ids[i], 1.0f);
}
extern "C" __global__ void reversed(const float* x, float* y) {
    extern __shared__ float row[];
    row[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = row[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void unwritten(float* y) {
    __shared__ float row[32];
    if (threadIdx.x) row[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x];
}
extern "C" __global__ void divergent(float* y) {
    if (threadIdx.x < 16) __syncthreads();
    else
        __syncthreads();
}
extern "C" __global__ void early(float* y) {
    if (threadIdx.x == 3) return;
    __syncthreads();
}
extern "C" __global__ void missing_lane(float* y) {
    if (threadIdx.x < 31) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, y[threadIdx.x], 1);
}
"""
WITHOUT_BARRIERS = r"""
struct Pair { double a; int b; };
template <class T, int by> __global__ void scale(T* x, Pair pair) { x[threadIdx.x] *= T(by * pair.a + pair.b); }
__global__ void __launch_bounds__(64) swap(unsigned long long* x) {
    unsigned long long i = threadIdx.x;
    atomicCAS(x + i, i, 7ull);
}
"""
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(SOURCE)


def row_sums(module: Module, d: int, claimed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.standard_normal((3, d)).astype(np.float32)
    y = guarded(np.full(3, np.nan, np.float32))
    module["row_sums"]((3,), (96,), (guarded(x), y, np.int32(claimed or d)))
    return y, x.sum(axis=1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shuffles_and_barriers_meet_under_every_schedule(module: Module, schedule: str) -> None:
    with module.schedule(schedule):
        y, expected = row_sums(module, 100)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_a_missing_barrier_is_seen_under_some_schedule() -> None:
    broken, wrong = Module(SOURCE.replace("__syncthreads();\n    v =", "v =")), 0
    for schedule in SCHEDULES:
        with broken.schedule(schedule):
            y, expected = row_sums(broken, 100)
            wrong += not np.allclose(y, expected, rtol=1e-4)
    assert wrong


@pytest.mark.parametrize("front", [False, True])
def test_one_number_outside_is_a_fault(module: Module, front: bool) -> None:
    x = guarded(np.ones(7, np.float32), front)
    module["scale"]((1,), (32,), (x, np.float32(3), np.int32(7)))
    assert (x == 3).all()
    broken = Module(SOURCE.replace("x[i] *= s", "x[i + 1] *= s" if not front else "x[i - 1] *= s"))
    with pytest.raises(KernelError, match=r"illegal address .* block \(0,0,0\) thread \("):
        broken["scale"]((1,), (32,), (x, np.float32(3), np.int32(7)))


def test_atomics_and_dynamic_shared_memory(module: Module) -> None:
    ids, y = RNG.integers(0, 5, 40).astype(np.int32), np.zeros(5, np.float32)
    module["count"]((2,), (32,), (ids, y, np.int32(40)))
    assert y.tolist() == np.bincount(ids, minlength=5).tolist()
    x, z = RNG.standard_normal(64).astype(np.float32), np.zeros(64, np.float32)
    module["reversed"]((1,), (64,), (x, z), shared_mem=256)
    assert z.tolist() == x[::-1].tolist()


def test_memory_that_nobody_wrote_is_nan(module: Module) -> None:
    y = np.zeros(32, np.float32)
    module["unwritten"]((1,), (32,), (y,))
    assert np.isnan(y[0]) and (y[1:] == 1).all()


@pytest.mark.parametrize(("name", "message"), [
    ("divergent", "wait at different"), ("early", "returned before a __syncthreads"),
    ("missing_lane", "deadlock in block")])
def test_barriers_that_do_not_meet_are_named(module: Module, name: str, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        module[name]((1,), (32,), (np.zeros(32, np.float32),))


def test_arguments_are_those_that_the_kernel_takes(module: Module) -> None:
    x, two, n = np.ones(5, np.float32), np.float32(2), np.int32(5)
    for args, message in (((x, 2.0, n), "takes f4, and 2.0 is f8"), ((x, two, 5), "takes i4, and 5 is i8"),
                          ((x.astype(float), two, n), r"takes \*f4, and the array is \*f8"), ((x, two), "3 arguments"),
                          ((np.ones((4, 2), np.float32).T, two, n), "not stored row by row")):
        with pytest.raises(TypeError, match=message):
            module["scale"]((1,), (32,), args)
    with pytest.raises(KernelError, match="invalid launch: a block of 2048 threads"):
        module["scale"]((1,), (2048,), (x, two, n))


def test_instances_of_templates_are_built_and_structs_have_sizes() -> None:
    library, symbols = build(WITHOUT_BARRIERS, ("scale<float, 3>", "scale<double, -2>"))
    assert symbols == {"swap": "swap", "scale<float, 3>": "instance_0", "scale<double, -2>": "instance_1"}
    kernel = Kernel(ctypes.CDLL(str(library)), "instance_1")
    assert kernel.parameters == ["*f8", "V16"]
    x = RNG.standard_normal(5)
    y = guarded(x)
    kernel((1,), (5,), (y, np.array((0.5, 3), np.dtype([("a", "f8"), ("b", "i4")], align=True))[()]))
    np.testing.assert_allclose(y, 2 * x)


def test_a_source_without_barriers_runs_without_fibers() -> None:
    x = guarded(np.arange(5, dtype=np.uint64))
    Module(WITHOUT_BARRIERS)["swap"]((1,), (5,), (x,))
    assert (x == 7).all()
    with pytest.raises(KernelError, match=r"illegal address .* thread \(5,0,0\)"):
        Module(WITHOUT_BARRIERS)["swap"]((1,), (6,), (x,))
    hidden = "#define SYNC __sync##threads()\n__global__ void f(float* x) { SYNC; }"
    with pytest.raises(KernelError, match="built without barriers"):
        Module(hidden)["f"]((1,), (2,), (np.ones(2, np.float32),))
