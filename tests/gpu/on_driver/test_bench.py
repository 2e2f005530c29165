"""`minibert bench --device cuda` on the device: every row, the same losses in all of them, the steps of pretraining.

What its clocks say means nothing here.
"""

import functools
import json
import weakref
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert import InputError
from minibert.backend import OutOfMemory
from minibert.bench.gpu import ceilings, profile, rounds, step
from minibert.bench.gpu.ceilings import Ceilings, in_precision, largest_products, measure_ceilings
from minibert.bench.gpu.machine import this_gpu
from minibert.bench.gpu.measurement import DeviceMeasurement
from minibert.bench.gpu.profile import profile_device
from minibert.bench.gpu.rounds import TOLERANCE, Sitting, measure_device
from minibert.bench.gpu.step import WAYS, Way, device_step, loss_of, new_model
from minibert.bench.gpu.timing import STEPS
from minibert.bench.profile import Profile
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.cli import main
from minibert.ops.cuda import blas, optimizer
from minibert.ops.cuda.graph import Graph
from minibert.ops.registry import REGISTRY, TWINS

from ..driver.record import record

SHAPE = Shape(2, 24, 3, 61, 3, 13)
OPTIONS = {"micro_batch": None, "recompute": False}
PLAIN, KERNELS, GRAPH, TF32, BFLOAT16 = WAYS
COMMAND = ["bench", "--device", "cuda", "--shape", *map(str, SHAPE.numbers)]


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Of what only fills the time of a real GPU, little."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (ceilings, profile):
            patch.setattr(module, "COPY_BYTES", 1 << 14)
        patch.setattr(ceilings, "MOST_GEMMS", 3)
        yield


class Shown:
    """What one run of the command printed, drew and measured."""

    output: str
    picture: Path
    measurement: DeviceMeasurement


@pytest.fixture(scope="module")
def shown(small: None, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    found, picture = Shown(), tmp_path_factory.mktemp("bench") / "bench.png"
    def measure(*arguments: Any) -> DeviceMeasurement:
        found.measurement = measure_device(*arguments)
        return found.measurement
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "measure_device", measure)
        with redirect_stdout(StringIO()) as printed:
            assert main([*COMMAND, "--no-peers", "--steps", "20", "--seconds", "600", "--out", str(picture)]) == 0
    found.output, found.picture = printed.getvalue(), picture
    return found


def test_the_command_prints_every_row(shown: Shown) -> None:
    lines = shown.output.splitlines()
    assert max(map(len, lines[:-1])) <= 80 and lines[-1] == f"picture: {shown.picture}"
    assert lines[0] == str(SHAPE) and "CuPy 14.2.0" in shown.output and "host memory, 17,180 MB" in shown.output
    for way in WAYS:
        assert len([line for line in lines if line.startswith(f"  {way.name}  ")]) == 2  # times and rates
    for said in ("GB/s of memory", "TFLOP/s, feed-forward, 39 x 24 x 96", "TFLOP/s, words, 6 x 24 x 61",
                 "  attention  ", "  AdamW  ", "  gradient norm  "):
        assert said in shown.output
    assert "left out" not in shown.output
    assert shown.picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_every_number_is_above_0(shown: Shown) -> None:
    numbers = json.loads(json.dumps(shown.measurement.to_dict()))
    assert numbers["rows"].keys() == {way.name for way in WAYS} and numbers["left_out"] == {}
    for name, row in numbers["rows"].items():
        for number in ("step_ms", "step_ms_min", "step_ms_max", "host_ms", "tokens_per_s", "tflops", "gemm_share",
                       "peak_mb", "ratio", "loss"):
            assert row[number] > 0.0, (name, number)
        assert row["rounds"] == 2 and len(row["losses"]) == STEPS
    assert numbers["copy_gb_per_s"] > 0.0 and numbers["micro_batch"] == 3
    assert numbers["gemm_tflops"].keys() == set(blas.PRECISIONS)
    assert all(rate > 0.0 for rates in numbers["gemm_tflops"].values() for rate in rates.values())
    assert all(row["ms"] > 0.0 and row["calls"] > 0 for row in numbers["ops"])


def test_all_ways_learn_the_same(shown: Shown) -> None:
    """Step by step, with the same dropout, and before the first step as on the CPU."""
    plain, *others = shown.measurement.rows
    expected = loss_of(new_model(SHAPE), synthetic_batch(SHAPE))
    assert plain.loss == pytest.approx(expected, rel=1e-5) and len(set(plain.losses)) == STEPS
    for row in others:
        assert row.loss == pytest.approx(expected, rel=TOLERANCE[row.precision]), row.name
        assert row.losses == pytest.approx(plain.losses, rel=TOLERANCE[row.precision]), row.name
    kernels, graph, *rounded = others
    assert kernels.losses == graph.losses
    assert len({tuple(row.losses) for row in (graph, *rounded)}) == 3  # each in a precision of its own


# ------------------------------------------------------------------------------------------------------- each way
def test_a_step_of_the_graph_is_that_of_pretraining() -> None:
    with device_step(SHAPE, GRAPH) as taken:
        for _ in range(STEPS):
            taken()
        taken.wait()
        with record() as asked:
            taken()
        assert asked.counts == {"launches": 0, "gemms": 0, "h2d": 1, "d2h": 0, "d2d": 1, "syncs": 0, "allocations": 0,
                                "graph_launches": 1}


@pytest.mark.parametrize("way", [PLAIN, replace(PLAIN, graph=True), KERNELS], ids=["formulas", "no graph", "kernels"])
def test_without_a_graph_operations_are_called(way: Way) -> None:
    with device_step(SHAPE, way) as taken:
        for _ in range(2):
            taken()
        with record() as asked:
            taken()
    assert asked.counts["graph_launches"] == 0 and asked.counts["launches"] > 50
    assert ("kernel add_norm" in asked.journal) is way.kernels
    if way.kernels:
        assert asked.counts["syncs"] == asked.counts["d2h"] == 0


def test_a_micro_batch_and_recomputation_reach_the_step() -> None:
    with device_step(SHAPE, KERNELS) as taken, record() as whole:
        taken()
    with device_step(SHAPE, KERNELS, micro_batch=2) as taken, record() as parts:
        taken()
    with device_step(SHAPE, KERNELS, recompute=True) as taken, record() as twice:
        taken()
    assert parts.counts["gemms"] == 2 * whole.counts["gemms"]
    assert whole.counts["gemms"] < twice.counts["gemms"] < parts.counts["gemms"]


@pytest.mark.parametrize("way", [KERNELS, GRAPH], ids=["kernels", "graph"])
def test_memory_is_counted_and_given_back(way: Way) -> None:
    with device_step(SHAPE, way) as taken:
        parameters = sum(p.size for p in taken.steps.optimizer.parameters)
        for _ in range(3):
            taken()
        taken.wait()
        outside = 1e-6 * (blas.WORKSPACE + taken.pool.total_bytes())
        pool, own = taken.pool, [weakref.ref(graph) for graph in taken.steps.graphs.graphs.values()]
        assert taken.memory_mb >= outside >= 1e-6 * (blas.WORKSPACE + 16 * parameters)
        assert (taken.memory_mb > outside) is way.graph
    assert pool.total_bytes() == 0 and [reference() for reference in own] == [None] * len(own)


def test_a_precision_ends_with_its_block() -> None:
    with pytest.raises(ZeroDivisionError), device_step(SHAPE, BFLOAT16):
        assert blas.precision() == "bfloat16"
        raise ZeroDivisionError
    assert blas.precision() == "float32"
    with in_precision("tf32"), in_precision("float32"):
        pass
    assert blas.precision() == "float32"


# --------------------------------------------------------------------------------------------------- coming to grief
@pytest.fixture
def sitting() -> Sitting:
    return Sitting(SHAPE, OPTIONS, 1, 60.0)


def test_a_way_that_computes_something_else_is_left_out(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    right = TWINS["attention"]
    @functools.wraps(right.forward)
    def wrong(*args: Any, **hyper: Any) -> Any:
        y, saved = right.forward(*args, **hyper)
        return -y, saved
    monkeypatch.setitem(TWINS, "attention", replace(right, forward=wrong))
    sitting.take(KERNELS)
    assert sitting.rows == [] and "is right: nothing to compare" in sitting.left_out[KERNELS.name]


def test_a_full_gpu_leaves_the_others(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Graph.__init__
    def little(graph: Graph, *arguments: Any) -> None:
        make(graph, *arguments)
        graph.pool.set_limit(size=1 << 12)
    monkeypatch.setattr(Graph, "__init__", little)
    for way in (GRAPH, KERNELS):
        sitting.take(way)
    assert [row.name for row in sitting.rows] == [KERNELS.name]
    assert "out of memory" in sitting.left_out[GRAPH.name] and "smaller --shape" in sitting.left_out[GRAPH.name]


def test_steps_that_diverge_are_told(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "LEARNING_RATE", 1e30)
    sitting.take(GRAPH)
    assert sitting.left_out[GRAPH.name].startswith("went wrong at step 2, because the ")


def test_without_any_way_there_is_no_benchmark(capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OutOfMemory("it is full", 1)
    monkeypatch.setattr(rounds, "device_step", full)
    assert main([*COMMAND, "--json"]) == 1
    assert capsys.readouterr().err == "minibert: this GPU cannot take the training step: it is full\n"


def test_a_profile_without_room_is_left_out(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OutOfMemory("it is full", 1)
    monkeypatch.setattr(rounds, "profile_device", full)
    assert sitting.profile(1.0) is None and sitting.left_out == {"the table of operations": "it is full"}


@pytest.mark.parametrize(("flags", "said"), [
    (["--growth"], "--growth is measured on the CPU only: leave it out, or take --device cpu"),
    (["--inference"], "--inference is measured on the CPU only"),
    (["--threads", "2"], "--threads has no effect with --device cuda: leave it out")])
def test_what_is_not_measured_on_a_gpu_is_said(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, *flags]) == 1
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


# ------------------------------------------------------------------------------------------------ ceilings and profile
def test_a_ceiling_is_measured_in_graphs_that_copy_and_multiply() -> None:
    with record() as asked:
        found = measure_ceilings(SHAPE)
    assert asked.counts["gemms"] == 2 * 3 * len(blas.PRECISIONS) * 2  # of two products, called and recorded
    assert asked.counts["graph_launches"] == (1 + 2 * len(blas.PRECISIONS)) * (1 + ceilings.TIMES)
    seen = [event.split(" as ")[-1].split()[0] for event in asked.journal if event.startswith("gemm ")]
    assert seen == ["gemm"] * 12 + ["tf32"] * 12 + ["bfloat16"] * 12  # float32 is not said
    assert [product.flop for product in largest_products(SHAPE)] == [2 * 39 * 24 * 96, 2 * 6 * 24 * 61]
    assert found.gemm("tf32") == max(found.tflops["tf32"].values())


def test_a_ceiling_counts_what_is_read_and_written_and_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_quickest_ms", lambda work: 2.0)
    found = measure_ceilings(SHAPE)
    assert found.copy_gbs == pytest.approx(2 * ceilings.COPIES * (1 << 14) / 2e-3 / 1e9)
    for product, rate in found.tflops["tf32"].items():
        assert rate == pytest.approx(3 * product.flop / 2e-3 / 1e12)


def test_a_gpu_is_kept_busy_with_copies() -> None:
    with record() as asked:
        profile._keep_busy(ms=0.2, copy_gbs=0.8192)
    assert asked.counts["d2d"] == 10  # of 16,384 bytes, read and written, at 819,200 a millisecond
    with record() as asked:
        profile._keep_busy(ms=1e9, copy_gbs=3000.0)
    assert asked.counts["d2d"] == profile.MOST_COPIES


def test_a_profile_has_every_operation_and_the_rest() -> None:
    before = [dict(table) for table in (REGISTRY, TWINS)]
    functions = optimizer.adamw, optimizer.norm_and_clip
    found: Profile = profile_device(SHAPE, 100.0, 2, False)
    assert [dict(table) for table in (REGISTRY, TWINS)] == before
    assert (optimizer.adamw, optimizer.norm_and_clip) == functions
    calls = {(row.op, row.direction): row.calls for row in found.ops}
    assert calls["attention", "forward"] == calls["attention", "backward"] == 2 * 2  # layers, micro-batches
    assert calls["linear_gelu", "forward"] == 2 * (2 + 1)
    assert list(found.rest) == ["batch, sums of gradients", "gradient norm", "AdamW"]
    assert min(found.rest.values()) > 0.0


def test_the_better_of_two_looks_counts() -> None:
    one, other = largest_products(SHAPE)
    both = Ceilings(3.0, {"tf32": {one: 1.0, other: 5.0}}).best(Ceilings(2.0, {"tf32": {one: 2.0, other: 4.0}}))
    assert both == Ceilings(3.0, {"tf32": {one: 2.0, other: 5.0}})


def test_the_gpu_tells_its_names() -> None:
    gpu = this_gpu()
    assert (gpu.name, gpu.driver_cuda, gpu.cupy) == ("host memory", "13.0", "14.2.0")
    assert gpu.memory_mb == pytest.approx(17179.869) and np.isfinite(float(gpu.cuda))


def test_a_gpu_that_cannot_be_used_ends_the_command(capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise InputError("there is no GPU")
    monkeypatch.setattr("minibert.bench.command.choose_device", refuse)
    assert main(COMMAND) == 1
    assert capsys.readouterr() == ("", "minibert: there is no GPU\n")
