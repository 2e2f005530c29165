"""Numbers that follow from a measurement, and the forms in which it is shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minibert.bench.chart import draw_measurement
from minibert.bench.flops import step_flops
from minibert.bench.growth import FACTORS, Growth, growth_report, measure_growth, variants
from minibert.bench.growth_chart import draw_growth
from minibert.bench.machine import Machine
from minibert.bench.measurement import Measurement, Row
from minibert.bench.report import report
from minibert.bench.shape import Shape

from .conftest import TINY

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def growth() -> Growth:
    """Two shapes along each dimension."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("minibert.bench.growth.FACTORS", FACTORS[1:3])
        return measure_growth(TINY, 1, {}, 1, 60.0)


@pytest.fixture
def with_peers(measurement: Measurement) -> Measurement:
    return replace(measurement, ours=Row("minibert", "minibert 0.1", [100.0, 200.0, 400.0], 50.0),
                   peers=[Row("PyTorch float32 eager", "PyTorch 2.13.0", [300.0, 500.0, 800.0], None)],
                   left_out={"JAX jit": "ImportError: " + "something is not where it should be " * 4})


def test_ratios_are_taken_within_rounds() -> None:
    ours, theirs = Row("a", "", [100.0, 200.0, 400.0]), Row("b", "", [300.0, 500.0, 800.0])
    assert theirs.ratio(ours) == 2.5  # of 3, 2.5 and 2; the medians' own ratio is the same by chance
    assert Row("c", "", [300.0, 200.0, 800.0]).ratio(ours) == 2.0  # of 3, 1 and 2, where the medians give 1.5
    assert ours.ratio(ours) == 1.0


def test_json_has_every_number(measurement: Measurement) -> None:
    numbers = json.loads(json.dumps(measurement.to_dict()))
    for name in ("step_ms", "step_ms_min", "step_ms_max", "tokens_per_s", "gflops", "gflop_per_step",
                 "gemm_peak_gflops", "gemm_share"):
        assert isinstance(numbers[name], float) and numbers[name] > 0.0, name
    assert numbers["peak_mb"] is None or numbers["peak_mb"] > 10.0
    assert (numbers["threads"], numbers["micro_batch"], numbers["steps"]) == (2, 3, 2)
    assert numbers["shape"] == {"layers": 1, "hidden": 16, "heads": 2, "vocabulary": 50, "batch": 4, "length": 8}
    assert isinstance(numbers["cpu"], str) and numbers["blas"].keys() == {"library", "version", "kernel"}
    assert all(row.keys() == {"op", "direction", "ms", "calls"} for row in numbers["ops"])
    assert {row["direction"] for row in numbers["ops"]} == {"forward", "backward"}
    assert numbers["peers"] == numbers["left_out"] == {}
    assert numbers["whole_gflop_per_step"] == pytest.approx(664_320e-9)
    assert numbers["gflop_per_step"] == pytest.approx(1e-9 * step_flops(TINY, 4))
    assert numbers["gflops"] == pytest.approx(numbers["gflop_per_step"] / numbers["step_ms"] * 1e3)
    assert numbers["tokens_per_s"] == pytest.approx(32e3 / numbers["step_ms"])
    assert numbers["gemm_share"] == pytest.approx(numbers["gflops"] / numbers["gemm_peak_gflops"])


def test_json_has_the_peers(with_peers: Measurement) -> None:
    assert with_peers.to_dict()["peers"] == {
        "PyTorch float32 eager": {"version": "PyTorch 2.13.0", "step_ms": 500.0, "peak_mb": None, "ratio": 2.5}}


def test_the_report_fits_a_terminal_and_names_everybody(with_peers: Measurement) -> None:
    machine = Machine("A CPU", with_peers.machine.blas, ["this is slow because of that, " * 5])
    text = report(replace(with_peers, machine=machine, recompute=True))
    assert max(map(len, text.splitlines())) <= 80
    for said in ("A CPU", "warning: this is slow", "PyTorch float32 eager", "2.50", "JAX jit left out: Import",
                 "recomputation", "minibert 0.1; PyTorch 2.13.0", "tokens a second", "attention", "AdamW"):
        assert said in text


def test_pictures_are_written(with_peers: Measurement, growth: Growth, tmp_path: Path) -> None:
    draw_measurement(with_peers, tmp_path / "new" / "bench.png")
    draw_growth(growth, tmp_path / "growth.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(PNG)
    assert (tmp_path / "growth.png").read_bytes().startswith(PNG)


def test_a_growth_without_known_memory_can_be_drawn(growth: Growth, tmp_path: Path) -> None:
    lines = {name: [replace(point, peak_mb=None) for point in line] for name, line in growth.lines.items()}
    draw_growth(replace(growth, start_mb=None, lines=lines), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(PNG)


def test_each_dimension_is_doubled_around_the_base_where_that_is_possible() -> None:
    base = Shape(3, 64, 2, 50, 4, 256)
    assert [shape.batch for shape in variants(base, "batch")] == [2, 4, 8, 16]
    assert [shape.length for shape in variants(base, "length")] == [128, 256, 512]
    assert [(shape.hidden, shape.heads) for shape in variants(base, "width")] == [(32, 1), (64, 2), (128, 4), (256, 8)]
    assert [shape.layers for shape in variants(base, "depth")] == [3, 6, 12]


def test_growth_is_measured_along_every_dimension(growth: Growth) -> None:
    numbers = json.loads(json.dumps(growth.to_dict()))["growth"]
    assert {name: [point["value"] for point in line] for name, line in numbers.items()} == {
        "batch": [4, 8], "length": [8, 16], "width": [16, 32], "depth": [1, 2]}
    for line in numbers.values():
        assert all(point["step_ms"] > 0.0 and point["floor_ms"] > 0.0 for point in line)
        operations = [point["gflop_per_step"] for point in line]
        assert operations == sorted(operations)


def test_growth_is_a_table_in_markdown(growth: Growth) -> None:
    lines = growth_report(growth).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 8 and {line.count("|") for line in table} == {8}
    assert max(map(len, lines)) <= 80
