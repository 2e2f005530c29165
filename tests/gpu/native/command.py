"""`minibert pretrain --device cuda` as a user calls it, and other commands on what it made."""

import time
from pathlib import Path
from typing import Any

from train import tiny

from minibert.train.metrics import MetricsLog

from .children import minibert
from .options import Options
from .page import Page

STEPS = ("--steps", 600)
# what two cores of a CPU found after so many of these steps, with the text of Python 3.11 and NumPy 2.4
CPU = {500: {"masked_loss": 5.129, "masked_accuracy": 0.166}, 600: {"masked_loss": 5.050, "masked_accuracy": 0.176}}
APART = 0.2  # nats: the text, and with it the loss, differs between versions of Python and NumPy
FLOOR = 6.035  # nats: the unigram entropy of that text
TINY = ("--steps", 3, "--warmup", 1, "--batch", 4, "--length", 24, "--vocab-size", 120, "--held-out", 0.1)
SENTENCE = "Raise a [MASK] if the key is not found."


def command(page: Page, options: Options) -> None:
    """A run on the default text (or, small, on a tiny one), looked at by replay, doctor and fill-mask."""
    folder, text = Path("run"), STEPS
    if options.small:
        text = ("--corpus", tiny.write_corpus(Path("corpus.txt")), *TINY)
    start = time.perf_counter()
    _answered(page, options, "saving to", "pretrain", "--device", "cuda", "--out", folder, *text)
    seconds = time.perf_counter() - start
    log = MetricsLog(folder / "metrics.jsonl").read()
    _held_out(page, options, {record["step"]: record["held_out"] for record in log if "held_out" in record})
    speeds = [record["tokens_per_second"] for record in log if "tokens_per_second" in record]
    page.note(f"Tokens a second: {speeds[-1]:,} in the last steps of the log, {max(speeds):,} at best. The whole "
              f"command took {seconds:.0f} s.")
    _answered(page, options, "verified", "replay", folder, "--step", 2)
    _answered(page, options, "[MASK] 1", "fill-mask", folder, SENTENCE, "--device", "cuda")
    _answered(page, options, "masked words", "evaluate", folder, "--device", "cuda")
    if not options.small:  # on so short a run of so little text it has problems to name
        _answered(page, options, "no problems", "doctor", folder)
    page.sentence = f"{sum(line.startswith('`') for line in page.text)} commands, {seconds:.0f} s for pretraining"


def _answered(page: Page, options: Options, says: str, *arguments: Any) -> None:
    """Run one command, which must succeed and say something."""
    done = minibert(options, *arguments)
    shown = " ".join(map(str, arguments))
    page.check(done.returncode == 0 and says in done.stdout, f"minibert {shown}: status {done.returncode}")
    page.note(f"`minibert {shown}`")
    page.verbatim(done.stdout[-2500:] + (done.stderr[-2500:] if done.returncode else ""))


def _held_out(page: Page, options: Options, found: dict[int, dict[str, float]]) -> None:
    """The losses beside the CPU's."""
    rows = [[step, numbers["masked_loss"], numbers["masked_accuracy"], numbers["pair_loss"],
             *(CPU.get(step, {}).get(name, "-") if not options.small else "-" for name in CPU[500])]
            for step, numbers in found.items()]
    page.check(bool(rows), "nothing was evaluated")
    page.table(("step", "held-out loss, nats", "guessed", "next sentence, nats", "CPU's loss", "CPU's guessed"), rows)
    if not options.small:
        page.note(f"The unigram floor is about {FLOOR} nats, chance ln 3000 = 8.006.")
        for step, numbers in CPU.items():
            page.check(step in found and abs(found[step]["masked_loss"] - numbers["masked_loss"]) < APART,
                       f"held-out loss at step {step}: {found.get(step, {}).get('masked_loss')}, on a CPU "
                       f"{numbers['masked_loss']}")
