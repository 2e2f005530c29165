"""`minibert bench --device cuda`, beside PyTorch where that is installed."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from minibert.bench.gpu.step import WAYS

from .children import minibert
from .options import Options
from .page import Page, Skip

PRESETS = ("base", "mini", "tiny")  # the one that matters most first
SECONDS = 15  # of timing, for each
TIMEOUT = 120
COLUMNS = ("step_ms", "host_ms", "tokens_per_s", "tflops", "gemm_share", "peak_mb", "ratio")
GRAPH = WAYS[2].name


def bench(page: Page, options: Options) -> None:
    """The time of a training step for each preset."""
    if options.stand_in:
        raise Skip("the benchmark's workers are processes of their own, which know nothing of the stand-in")
    rows: list[list[Any]] = []
    for preset in PRESETS:
        try:
            done = minibert(options, "bench", "--device", "cuda", "--preset", preset, "--json", "--seconds", SECONDS,
                            timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            page.check(False, f"{preset}: no answer in {TIMEOUT} s")
            continue
        if not page.check(done.returncode == 0, f"{preset}: status {done.returncode}"):
            page.verbatim((done.stdout + done.stderr)[-2000:])
            continue
        with page.checking(preset):
            page.note(f"All that `bench --preset {preset}` said: `{done.stdout.strip()}`")
            rows += rows_of(preset, json.loads(done.stdout))
    page.table(("preset", "who", *COLUMNS, "version"), rows)
    page.sentence = "; ".join(f"{preset} {row[2]:.3g} ms" for preset in PRESETS for row in rows
                              if row[0] == preset and row[1] == GRAPH)


def rows_of(preset: str, found: dict[str, Any]) -> Iterator[list[Any]]:
    """minibert's ways and the others, and who was left out and why; the ceilings last."""
    for name, row in found["rows"].items():
        yield [preset, name, *("-" if row[column] is None else row[column] for column in COLUMNS), row["version"]]
    for name, reason in found["left_out"].items():
        yield [preset, name, *("-" for _ in COLUMNS), reason]
    rates = ", ".join(f"{precision} {max(products.values()):.1f} TFLOP/s"
                      for precision, products in found["gemm_tflops"].items())
    yield [preset, "ceilings", *("-" for _ in COLUMNS), f"copies {found['copy_gb_per_s']:.0f} GB/s; products {rates}"]
