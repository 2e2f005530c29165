"""`run_on_gpu.py`, rehearsed on the stand-in for a driver: what it reports, and that it sees what is wrong."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from . import run_on_gpu
from .driver import build
from .native import bandwidth, bench, sanitizer, training
from .native.accuracy import LIMIT, U, error
from .native.compiled import kernel_names
from .native.page import Page
from .native.report import Outcome, markdown
from .native.sections import SECTIONS

ROOT = Path(__file__).parents[2]
needs_stand_in = pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))


def rehearse(folder: Path, *arguments: str, root: Path = ROOT, python: tuple[str, ...] = (), **environment: str
             ) -> tuple[int, str, str]:
    """Exit status, what was printed, and the report."""
    report = folder / "report.md"
    command = [sys.executable, *python, str(root / "tests" / "gpu" / "run_on_gpu.py"), "--stand-in", "--small", "--out",
               str(report), *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", timeout=300)
    return done.returncode, done.stdout, report.read_text(encoding="utf-8") if report.exists() else ""


def verdicts(report: str) -> dict[str, str]:
    """Of each section, from the summary."""
    return dict(re.findall(r"^\| ([\w-]+) \| \**(passed|FAILED|skipped|not run)\** \| \d+ \|", report, re.MULTILINE))


# ------------------------------------------------------------------------------------------------------- the whole
@needs_stand_in
def test_a_whole_rehearsal(tmp_path: Path) -> None:
    status, printed, report = rehearse(tmp_path)
    assert status == 0, report
    skipped = {"bench", "sanitizer"} if "compute-sanitizer is not installed" in report else {"bench"}
    assert verdicts(report) == {s.name: "skipped" if s.name in skipped else "passed" for s in SECTIONS}
    assert [line.split()[:2] for line in printed.splitlines()[:-1]] == [
        [verdict, name] for name, verdict in verdicts(report).items()]
    assert printed.splitlines()[-1] == f"report: {tmp_path / 'report.md'}"
    assert "no GPU was used" in report and "know nothing of the stand-in" in report
    for number in ("| GPU | host memory |", "| attention | 13 |", "| default |", "copy", "minibert replay run"):
        assert number in report, number
    parts = {part.partition(":")[0]: part for part in report.split("\n## ")}
    for section in ("compiled", "bandwidth"):
        assert len(kernel_names()) > 15
        assert all(parts[section].count(f"\n| {name} | ") == 1 for name in kernel_names())
    assert not (tmp_path / "run").exists() and not (tmp_path / "corpus.txt").exists()


# ------------------------------------------------------------------------------------------------ what goes wrong
PLANTED = (  # file, what is there, what a tired colleague might write, or what ends the process
    ("minibert/ops/cuda/products.py", "gemm(dy_rows, x_rows, ta=True)", "gemm(dy_rows, x_rows, ta=True, alpha=1.001)"),
    ("minibert/ops/cuda/twins.py", "np.uint64(key.seed)", "np.uint64(key.seed & 0xffffffff)"),
    ("minibert/train/device_steps.py", "        row = self.unread[",
     "        float(self.numbers[NORM])\n        row = self.unread["),
    ("minibert/train/device_steps.py", "rates[3:], self.halted)", "rates[3:].copy(), self.halted)"),
    ("tests/gpu/native/products.py", "    _double(page, rng)\n", "    import os\n    os.kill(os.getpid(), 11)\n"))


@needs_stand_in
def test_planted_faults_and_a_crash_fail_their_sections_and_no_other(tmp_path: Path) -> None:
    """In a copy of the checkout."""
    for name in ("minibert", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    for file, right, wrong in PLANTED:
        source = (tmp_path / file).read_text(encoding="utf-8")
        assert source.count(right) == 1, right
        (tmp_path / file).write_text(source.replace(right, wrong), encoding="utf-8")
    passing, failing = ("environment", "compiled"), ("twins", "dropout", "products", "model", "training", "waiting")
    status, printed, report = rehearse(tmp_path, "--only", *passing, *failing, root=tmp_path)
    assert status == 1
    assert verdicts(report) == dict.fromkeys(passing, "passed") | dict.fromkeys(failing, "FAILED")
    wrong = re.findall(r"\*\*failed\*\*: (.*)", report)
    twins = {tuple(found.groups()) for line in wrong if (found := re.match(r"(\w+), [\w ]+: (\w+) is off by", line))}
    assert twins == {("linear", "dweight"), ("linear_gelu", "dweight")}
    gradients = {found[1] for line in wrong if (found := re.match(r"toy, kernels, .*: the gradient of (\S+) is", line))}
    assert gradients and all(name.endswith("weight") for name in gradients)
    assert any(re.search(r"device_steps.py:\d+: float\(self.numbers\[NORM\]\)", line) for line in wrong)
    for part in ("its process was ended by SIGSEGV", "differ for seed 1099511627777, start 0",
                 "step 2 waits: DeviceSynchronized", "weights and moments before and after a NaN: "):
        assert any(part in line for line in wrong), part
    assert not any("differ for seed 0" in line for line in wrong)
    assert "| float32 | 130 |" in report  # what was found before the crash
    assert "FAILED   twins" in printed and "linear, case 0: dweight is off by" in printed


@needs_stand_in
def test_when_the_time_is_over_the_rest_is_not_run(tmp_path: Path) -> None:
    status, printed, report = rehearse(tmp_path, "--minutes", "0.01")
    assert status == 0 and set(verdicts(report).values()) == {"not run"} and "the time was over" in printed


def command_line(process: int) -> str:
    """Empty for one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def test_a_section_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text("import subprocess, sys, time\nprint(subprocess.Popen([sys.executable, '-c', 'import time; "
                      "time.sleep(60)']).pid, flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    monkeypatch.setattr(run_on_gpu, "__file__", str(script))
    section = SECTIONS[0]._replace(seconds=1)
    outcome = run_on_gpu.run_section(section, run_on_gpu.Options(), 1.0)
    assert outcome.verdict == "FAILED" and outcome.page.failures == ["it was stopped after 1 s"]
    assert outcome.seconds < 10
    until = time.monotonic() + 5
    while command_line(int(outcome.log)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not command_line(int(outcome.log))  # what the section started has ended, too
    outcome = run_on_gpu.run_section(SECTIONS[0], run_on_gpu.Options(), 1.0)  # not its own time, but that of all
    assert outcome.verdict == "not run" and outcome.sentence == "the time was over before its end"


def test_a_machine_without_a_gpu_runs_nothing(tmp_path: Path) -> None:
    """Without the stand-in there is none here."""
    command = [sys.executable, str(ROOT / "tests" / "gpu" / "run_on_gpu.py"), "--out", str(tmp_path / "report.md"),
               "--only", "environment", "twins", "dropout"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, env=os.environ
                          | {"CUDA_VISIBLE_DEVICES": ""}, timeout=120)
    assert done.returncode == 1
    if build.missing() is None:
        report = (tmp_path / "report.md").read_text(encoding="utf-8")
        assert verdicts(report) == {"environment": "FAILED", "twins": "not run", "dropout": "not run"}
        assert "InputError" in report
    else:
        assert "pip install" in done.stdout or "FAILED" in done.stdout


def test_what_is_missing_is_one_sentence(tmp_path: Path) -> None:
    """-S: without the packages that are installed."""
    status, printed, report = rehearse(tmp_path, python=("-S",), PYTHONPATH="")
    assert status == 1 and not report and len(printed.splitlines()) == 1
    assert "numpy, cupy, safetensors" in printed and re.search(r"pip install numpy 'cupy-cuda1[23]x\[ctk\]'", printed)


# -------------------------------------------------------------------------------------------------------- the parts
def test_an_error_is_measured_in_roundings_of_the_largest_number() -> None:
    assert error([1.0, 8.0], [1.0, 8.0]) == 0 and error([1.0 + 4 * U, 8.0], [1.0, 8.0]) == pytest.approx(0.5)
    assert error([2e-5, 0.0], [0.0, 0.0]) == pytest.approx(2e-5 / 1e-3 / U) and 335 < LIMIT < 336
    inf, nan = float("inf"), float("nan")
    assert error([inf, -inf], [inf, -inf]) == 0
    for wrong in ([nan, 1.0], [inf, 1.0], [1.0], [[1.0, 1.0]]):
        assert error(wrong, [1.0, 1.0]) == inf


def test_a_page_stays_when_its_process_does_not(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.json")
    assert page.check(True, "a") and not page.check(False, "b")
    with page.checking("c"):
        raise ValueError("too | bad")
    page.table(("name", "number"), [("a|b", 1234.5), ("c", 0.25)])
    read = Page.read(page.file)
    assert (read.held, read.verdict) == (1, "FAILED")
    assert read.failures[0] == "b"
    assert re.fullmatch(r'c: ValueError: too \| bad \(test_run_on_gpu.py:\d+: raise ValueError\("too \| bad"\)\)',
                        read.failures[1])
    assert read.text == ["| name | number |\n| --- | --: |\n| a/b | 1,234 |\n| c | 0.25 |"]
    read.failures.clear()
    assert read.verdict == "FAILED"  # not complete
    read.complete = True
    assert read.verdict == "passed"
    read.skipped = "why"
    assert read.verdict == "skipped" and not read.failures
    read.failures, read.skipped = ["d"], "why"
    assert read.verdict == "FAILED"
    read.failures, read.skipped = [], ""
    read.held = 0
    assert read.verdict == "FAILED"  # nothing was checked


def test_many_failures_are_counted_and_the_first_shown() -> None:
    page = Page()
    for number in range(40):
        page.check(False, f"wrong {number}")
    report = markdown([Outcome(SECTIONS[1], page, page.verdict, 1.0, "printed")], ["A remark."])
    assert report.count("- **failed**: wrong") == 25 and "and 15 more" in report and "40 of 40 checks failed" in report
    assert "A remark." in report and "```text\nprinted\n```" in report


def test_kernels_that_a_sanitizer_names() -> None:
    said = ("========= COMPUTE-SANITIZER\n========= Invalid __global__ read of size 4 bytes\n"
            "=========     at masked_softmax+0x90\n=========     by thread (3,0,0) in block (1,0,0)\n"
            "gelu\n========= ERROR SUMMARY: 2 errors\n")
    assert sanitizer.verdict(said) == (2, ["masked_softmax"])
    assert sanitizer.verdict(said.replace("masked_softmax", "cutlass_gemm")) == (2, [])
    assert sanitizer.verdict("=========     at masked_softmax\n========= ERROR SUMMARY: 0 errors") == (0, [])
    assert sanitizer.verdict("========= RACECHECK SUMMARY: 3 hazards displayed (1 error, 2 warnings)") == (3, [])
    assert sanitizer.verdict("killed") == (None, [])


@needs_stand_in
def test_a_sanitizer_on_the_path_is_used(tmp_path: Path) -> None:
    """One that says what a real one would say of a kernel of ours, under one of the tools."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text("#!/bin/sh\nkind=$2\nwhile [ \"${1#*python}\" = \"$1\" ]; do shift; done\n\"$@\" || exit 1\n"
                    "case $kind in racecheck) echo '=========     at column_sums+0x10'\n"
                    "echo '========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)';;\n"
                    "*) echo '========= ERROR SUMMARY: 0 errors';; esac\n", encoding="utf-8")
    tool.chmod(0o755)
    status, printed, report = rehearse(tmp_path, "--only", "sanitizer",
                                       PATH=os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    assert status == 1 and "memcheck 0, racecheck 1, initcheck 0, synccheck 0" in printed
    assert "**failed**: racecheck: 1 errors, in our kernels column_sums" in report


def test_one_bit_is_another_result() -> None:
    page, x = Page(), np.float32([1, 2])
    training._same_bits(page, "same", {"a": x}, {"a": x.copy()})
    assert not page.failures
    training._same_bits(page, "other", {"a": x}, {"a": np.nextafter(x, np.float32(9))})
    assert len(page.failures) == 1 and page.failures[0].startswith("other: 1 of 1 arrays differ, the first ['a']")
    assert training._furthest({"a": x, "key": x}, {"a": x + 1, "key": x}) == (pytest.approx(1 / 3), "a")
    assert training._furthest({"a": x * np.nan}, {"a": x}) == (np.inf, "a")
    assert training._furthest({"a.self.key.bias w": x, "b": x}, {"a.self.key.bias w": 9 * x, "b": x}) == (0, "b")


def test_bytes_that_a_launch_moves() -> None:
    x, flags, step = np.zeros((3, 5), np.float32), np.zeros(15, bool), np.zeros((), np.uint64)
    assert bandwidth.Launch("drop", (1,), (1,), (x, flags, x, np.int64(15), step)).moved == 60 + 15 + 60
    assert bandwidth.Launch("adamw", (1,), (1,), (x, x, x, x, np.int64(15))).moved == 7 * 60
    table, ids = np.zeros((1000, 5), np.float32), np.zeros(3, np.int64)
    assert bandwidth.Launch("embedding_backward", (1,), (1,), (x, ids, flags[:3], table)).moved == 3 * 60 + 24 + 3
    assert bandwidth.Launch("drop", (1,), (1,), (flags, table, step)).shape == "1000 x 5"


def test_rows_of_a_benchmark() -> None:
    row = {"step_ms": 2.5, "host_ms": 0.1, "tokens_per_s": 800.0, "tflops": 1.5, "gemm_share": 0.25, "peak_mb": 34.0,
           "ratio": None, "version": "minibert 0.1", "loss": 3.0}
    found = {"rows": {"a graph": row}, "left_out": {"PyTorch": "needs torch"}, "copy_gb_per_s": 2000.4,
             "gemm_tflops": {"float32": {"words": 40.0, "feed-forward": 45.0}, "tf32": {"words": 300.0}}}
    assert list(bench.rows_of("mini", found)) == [
        ["mini", "a graph", 2.5, 0.1, 800.0, 1.5, 0.25, 34.0, "-", "minibert 0.1"],
        ["mini", "PyTorch", *"-------", "needs torch"],
        ["mini", "ceilings", *"-------", "copies 2000 GB/s; products float32 45.0 TFLOP/s, tf32 300.0 TFLOP/s"]]
