"""`minibert bench --device cuda`, beside PyTorch where that is installed."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from .children import minibert
from .options import Options
from .page import Page, Skip

PRESETS = ("base", "mini", "tiny")  # the one that matters most first
SECONDS = 15  # of timing, for each
TIMEOUT = 120


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
        if "unrecognized arguments: --device" in done.stderr:
            raise Skip("this minibert's bench has no --device")
        if not page.check(done.returncode == 0, f"{preset}: status {done.returncode}"):
            page.verbatim((done.stdout + done.stderr)[-2000:])
            continue
        with page.checking(preset):
            page.note(f"All that `bench --preset {preset}` said: `{done.stdout.strip()}`")
            rows += rows_of(preset, json.loads(done.stdout))
    page.table(("preset", "who", "ms a step", "x ours", "peak MB", "tokens/s", "version"), rows)
    page.sentence = "; ".join(f"{row[0]} {row[2]:.3g} ms" for row in rows if row[1] == "minibert")


def rows_of(preset: str, found: dict[str, Any]) -> Iterator[list[Any]]:
    """minibert, then the others, and who was left out and why."""
    tokens = found["shape"]["batch"] * found["shape"]["length"]
    yield [preset, "minibert", found["step_ms"], 1.0, _number(found.get("peak_mb")), found["tokens_per_s"], ""]
    for name, peer in found.get("peers", {}).items():
        yield [preset, name, peer["step_ms"], peer["ratio"], _number(peer.get("peak_mb")),
               1e3 * tokens / peer["step_ms"], peer["version"]]
    for name, reason in found.get("left_out", {}).items():
        yield [preset, name, "-", "-", "-", "-", reason]


def _number(x: Any) -> Any:
    return "-" if x is None else x
