"""Numbers that follow from a measurement on a GPU, and the forms in which it is shown; no GPU is needed."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minibert.bench.contenders import GPU_PEERS, Contender
from minibert.bench.flops import step_flops
from minibert.bench.gpu.ceilings import Ceilings, largest_products
from minibert.bench.gpu.chart import draw_device
from minibert.bench.gpu.machine import Gpu, driver_number, version
from minibert.bench.gpu.measurement import DeviceMeasurement, DeviceRow
from minibert.bench.gpu.report import device_report
from minibert.bench.gpu.rounds import Sitting
from minibert.bench.gpu.step import WAYS, Way
from minibert.bench.gpu.timing import STEPS, Round, time_round
from minibert.bench.profile import OpTime, Profile
from minibert.bench.shape import Shape
from minibert.cli import main

from .conftest import TINY

SHAPE = Shape.preset("base")
MS = {"plain formulas": 480.0, "kernels, one by one": 93.0, "kernels in a CUDA graph": 91.0,
      "the graph with TF32": 32.0, "the graph with bfloat16": 25.0, "PyTorch float32": 120.0, "PyTorch TF32": 48.0,
      "PyTorch bfloat16 autocast": 50.0}


def row(name: str, precision: str, ours: bool) -> DeviceRow:
    rounds = [Round(MS[name] * factor, host) for factor, host in ((1.5, 2.0), (1.0, 40.0), (0.75, 4.0))]
    return DeviceRow(name, "minibert 0.1" if ours else "PyTorch 2.13.0", precision, ours, 11.0, rounds, 2345.6)


@pytest.fixture
def measured() -> DeviceMeasurement:
    rates = {"float32": 50.0, "tf32": 400.0, "bfloat16": 700.0}
    ceilings = Ceilings(2900.0, {precision: dict(zip(largest_products(SHAPE), (rate, rate / 2), strict=True))
                                 for precision, rate in rates.items()})
    profile = Profile([OpTime("linear", "backward", 40.0, 98), OpTime("attention", "forward", 9.0, 12)],
                      {"gradient norm": 1.0, "AdamW": 2.5})
    rows = [row(way.name, way.precision, True) for way in WAYS]
    rows += [row(peer.name, peer.options["precision"], False) for peer in GPU_PEERS[:3]]
    gpu = Gpu("NVIDIA H100 80GB HBM3", 85_000.0, "550.54.15", "12.4", "13.2", "14.2.0")
    return DeviceMeasurement(SHAPE, 16, True, gpu, ceilings, rows, profile,
                             {peer.name: "RuntimeError: no compiler" for peer in GPU_PEERS[3:]})


def test_numbers_follow_from_the_median_round(measured: DeviceMeasurement) -> None:
    graph, theirs = measured.rows[2], measured.rows[5]
    assert (graph.step_ms, graph.host_ms) == (91.0, 4.0)
    assert measured.tokens_per_s(graph) == pytest.approx(16 * 128 / 0.091)
    ours, whole = (step_flops(SHAPE, SHAPE.masked, whole) for whole in (False, True))
    assert measured.tflops(graph) == pytest.approx(ours / 91e9)
    assert measured.tflops(theirs) == pytest.approx(whole / 120e9)
    assert measured.share(graph) == pytest.approx(ours / 91e9 / 50.0)
    assert measured.share(measured.rows[3]) == pytest.approx(ours / 32e9 / 400.0)


def test_ratios_are_those_to_our_best_in_the_same_precision(measured: DeviceMeasurement) -> None:
    assert [measured.ratio(r) for r in measured.rows] == pytest.approx(
        [480 / 91, 93 / 91, 1.0, 1.0, 1.0, 120 / 91, 48 / 32, 2.0])
    without = replace(measured, rows=[r for r in measured.rows if not (r.ours and r.precision == "tf32")])
    assert without.ratio(measured.rows[6]) is None
    assert "-" in next(line for line in device_report(without).splitlines()[::-1] if "PyTorch TF32  " in line)


def test_the_report_fits_a_terminal_and_says_everything(measured: DeviceMeasurement) -> None:
    text = device_report(measured)
    assert max(map(len, text.splitlines())) <= 80
    for said in ("NVIDIA H100 80GB HBM3, 85,000 MB", "driver 550.54.15", "CUDA 13.2", "CuPy 14.2.0", "recomputation",
                 "TFLOP/s, feed-forward, 2,048 x 768 x 3,072", "TFLOP/s, words, 304 x 768 x 30,522", "2,900",
                 "minibert 0.1; PyTorch 2.13.0", "left out (RuntimeError: no compiler): PyTorch TF32 (compiled)",
                 "linear", "AdamW", "22,505", "1.32", "PyTorch computes the last layer at every position"):
        assert said in " ".join(text.split()), said


def test_the_report_does_without_peers_and_table_of_operations(measured: DeviceMeasurement, tmp_path: Path) -> None:
    alone = replace(measured, rows=measured.rows[:5], profile=None)
    text = device_report(alone)
    assert "PyTorch computes" not in text and "by operation" not in text
    draw_device(alone, tmp_path / "alone.png")
    assert (tmp_path / "alone.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert alone.to_dict()["ops"] == [] and alone.to_dict()["rest_ms"] == {}


def test_json_has_every_number(measured: DeviceMeasurement) -> None:
    numbers = json.loads(json.dumps(measured.to_dict()))
    assert (numbers["device"], numbers["micro_batch"], numbers["recompute"]) == ("cuda", 16, True)
    assert numbers["shape"]["layers"] == 12 and numbers["gpu"]["driver"] == "550.54.15"
    assert numbers["gemm_tflops"]["tf32"] == {"feed-forward, 2,048 x 768 x 3,072": 400.0,
                                              "words, 304 x 768 x 30,522": 200.0}
    best = numbers["rows"]["the graph with bfloat16"]
    assert (best["step_ms"], best["step_ms_min"], best["step_ms_max"], best["host_ms"]) == (25.0, 18.75, 37.5, 4.0)
    assert best["ratio"] == 1.0 and best["rounds"] == 3 and numbers["steps_a_round"] == STEPS
    assert numbers["rows"]["PyTorch TF32"]["ratio"] == 1.5
    assert numbers["left_out"]["PyTorch TF32 (compiled)"] == "RuntimeError: no compiler"


def test_a_round_is_over_when_the_gpu_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that takes 7 s a step, asked for in 1 s each."""
    clock, queued = [0.0], [3.0]  # something is left from before
    def step() -> None:
        clock[0] += 1.0
        queued[0] += 7.0
    def wait() -> None:
        clock[0] += queued[0]
        queued[0] = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert time_round(step, wait) == Round(1e3 * 8.0, 1e3)


def test_rounds_end_with_their_number_or_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sitting = Sitting(TINY, {"micro_batch": None, "recompute": False}, 4, 60.0)
    taken: Iterator[Round] = (Round(float(i), 0.0) for i in range(99))
    assert [r.ms for r in sitting._timed(lambda: next(taken))] == [0.0, 1.0, 2.0, 3.0]
    sitting.seconds = 0.0
    assert [r.ms for r in sitting._timed(lambda: next(taken))] == [4.0]


def test_a_driver_tells_its_number_where_it_can(tmp_path: Path) -> None:
    file = tmp_path / "version"
    assert driver_number(file) == ""
    for line, number in {"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024":
                         "550.54.15", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.51  Release":
                         "575.51", "something else": ""}.items():
        file.write_text(f"{line}\nGCC version:  gcc version 912.3.0\n", encoding="utf-8")
        assert driver_number(file) == number
    assert (version(13020), version(12040)) == ("13.2", "12.4")


def test_our_ways_are_those_that_are_compared() -> None:
    assert [(way.precision, way.kernels, way.graph) for way in WAYS] == [
        ("float32", False, False), ("float32", True, False), ("float32", True, True), ("tf32", True, True),
        ("bfloat16", True, True)]
    assert len({way.name for way in WAYS} | {peer.name for peer in GPU_PEERS}) == len(WAYS) + len(GPU_PEERS)
    assert max(len(named.name) for named in (*WAYS, *GPU_PEERS)) <= 34
    assert Way("").kernels


# ------------------------------------------------------------------------------------------------------------- peers
ON_GPU = """
from minibert.bench.served import Served, serve
taken = []
def one_round():
    taken.append(1)
    if len(taken) > {rounds}:
        raise RuntimeError("CUDA error")
    return [float(len(taken)), 0.5]
serve(lambda arguments: Served(lambda: 0.0, {{"loss": {loss}, "version": "other 1"}},
                               {{"round": one_round, "gpu_memory": lambda: 77.0}}))
"""


@pytest.fixture
def sitting() -> Sitting:
    return Sitting(TINY, {"micro_batch": None, "recompute": False}, 2, 60.0)


def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, rounds: int = 9) -> Contender:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "peer_on_gpu.py").write_text(ON_GPU.format(loss=loss, rounds=rounds), encoding="utf-8")
    return Contender("other", "peer_on_gpu", (), {"precision": "tf32"})


def test_a_peer_is_timed_after_a_round_that_does_not_count(sitting: Sitting, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    sitting.invite(peer(tmp_path, monkeypatch, sitting.loss * 1.0001), tmp_path)
    (found,) = sitting.rows
    assert (found.name, found.version, found.precision, found.ours, found.peak_mb) == (
        "other", "other 1", "tf32", False, 77.0)
    assert found.rounds == [Round(2.0, 0.5), Round(3.0, 0.5)] and sitting.left_out == {}


@pytest.mark.parametrize(("factor", "rounds", "reason"), [
    (1.01, 9, "where 4.6 is right: nothing to compare"), (float("nan"), 9, "its loss is nan"),
    (1.0, 2, "RuntimeError: CUDA error")], ids=["loss", "nan", "crash"])
def test_a_peer_that_fails_is_left_out(sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       factor: float, rounds: int, reason: str) -> None:
    sitting.loss = 4.6
    broken = peer(tmp_path, monkeypatch, 4.6, rounds)
    if factor != 1.0:
        source = (tmp_path / "peer_on_gpu.py").read_text(encoding="utf-8")
        (tmp_path / "peer_on_gpu.py").write_text(source.replace("4.6", f"float('{4.6 * factor}')"), encoding="utf-8")
    sitting.invite(broken, tmp_path)
    assert sitting.rows == [] and reason in sitting.left_out["other"]


def test_a_peer_that_is_not_installed_is_named(sitting: Sitting, tmp_path: Path) -> None:
    sitting.invite(Contender("other", "nowhere", ("no_such_library",), {"precision": "tf32"}), tmp_path)
    assert sitting.left_out == {"other": "needs no_such_library"}


def test_without_cupy_the_command_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["bench", "--device", "cuda", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("minibert: ") and err.count("\n") == 1
