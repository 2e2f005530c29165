"""compute-sanitizer over all twins at small, odd sizes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from minibert.ops import registry

from ..device_cases import REFUSED, results, there
from .children import SCRIPT, run
from .compiled import kernel_names
from .operations import cases_of, load_twins
from .options import Options
from .page import Page, Skip

PLACES = (None, "/usr/local/cuda/bin", "/opt/cuda/bin")
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
TIMEOUT = 90  # seconds, for each
ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard")


def sanitizer(page: Page, options: Options) -> None:
    """Each tool in turn; what it says of NVIDIA's own kernels is shown, and fails nothing."""
    program = next((found for place in PLACES if (found := shutil.which("compute-sanitizer", path=place))), None)
    if program is None:
        raise Skip("compute-sanitizer is not installed, which comes with NVIDIA's CUDA toolkit")
    said = []
    for tool in TOOLS:
        command = [program, "--tool", tool, "--print-limit", "20", "--show-backtrace", "no",
                   *(["--report-api-errors", "no"] if tool == "memcheck" else []),
                   sys.executable, str(SCRIPT), "--section", "all-twins", "--json", f"{tool}.json", *options.flags]
        try:
            done = run(command, TIMEOUT)
        except subprocess.TimeoutExpired:
            page.check(False, f"{tool}: no answer in {TIMEOUT} s")
            continue
        output, finished = done.stdout + done.stderr, Page.read(Path(f"{tool}.json")).complete
        count, named = verdict(output)
        page.check(finished, f"{tool}: the operations did not come to their end (status {done.returncode})")
        page.check(count is not None, f"{tool}: no summary")
        page.check(not named, f"{tool}: {count} errors, in our kernels {', '.join(named)}")
        said.append(f"{tool} {'no summary' if count is None else count}")
        page.note(f"`compute-sanitizer --tool {tool}`: {said[-1]} errors")
        if count or not finished:
            page.verbatim(output[:6000])
    page.sentence = "errors: " + ", ".join(said)


def verdict(output: str) -> tuple[int | None, list[str]]:
    """How many errors a tool counted, None without a summary; and which kernels of ours it names in them."""
    summaries = ERRORS.findall(output)
    words = set(re.findall(r"\w+", "\n".join(line for line in output.splitlines() if line.startswith("======="))))
    count = sum(int(a or b) for a, b in summaries) if summaries else None
    return count, [name for name in kernel_names() if name in words] if count else []


def all_twins(page: Page, options: Options) -> None:
    """Run by the tools: every twin once forward and backward, each array an allocation of its own."""
    from minibert.backend import cupy

    load_twins()
    if not options.stand_in:
        cupy().cuda.set_allocator(None)  # a pool's pieces have no ends that a tool could see
    for name, twin in registry.TWINS.items():
        for case in cases_of(name, {}, most=2 if options.small else None):
            args, hyper = case.case
            if name not in REFUSED or not REFUSED[name](*args):
                results(twin, tuple(map(there, args)), hyper)
                page.held += 1
    cupy().cuda.get_current_stream().synchronize()
