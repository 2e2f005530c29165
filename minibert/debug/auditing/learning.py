"""Can the model learn at all?  A few examples, by heart."""

import math
import time

from minibert.debug.auditing.finding import Verdict, check, ok, problem, skipped
from minibert.debug.auditing.patient import Patient, untouched
from minibert.optim import AdamW, clip_scale, gradient_norm

STEPS, EXAMPLES, SECONDS = 60, 4, 15.0
WARMUP = 10
PEAK, WIDTH = 1e-2, 23  # learning rate, and the width from which it falls as 1 / sqrt(width)
LEARNT, SMALL = 0.5, 0.1  # half of the first loss, or next to nothing
LOSSES = {"masked_lm_loss": "masked", "next_sentence_loss": "next sentence"}


@check("overfitting",
       "a model that cannot learn four examples by heart cannot learn a language: its forward pass, its backward pass "
       "or its labels are broken",
       "huggingface/transformers #649, google-research/bert #746")
def overfitting(patient: Patient) -> Verdict:
    """AdamW on four examples brings both losses down within sixty steps; if not together, then each alone."""
    deadline = time.monotonic() + SECONDS
    fall = _train(patient, "loss", list(LOSSES), deadline)
    alone = [name for name in LOSSES if not _learnt(fall[name])]
    for name in alone:
        fall[name] = _train(patient, name, [name], deadline)[name]
    stuck = [name for name in alone if not _learnt(fall[name])]
    words = ", ".join(f"{LOSSES[name]} {first:.3g} to {last:.3g}" for name, (first, last) in fall.items())
    if stuck and time.monotonic() > deadline:
        return skipped(f"{SECONDS:.0f} seconds were not enough to learn {EXAMPLES} examples ({words})", **fall)
    if stuck:
        rest = "neither loss falls" if len(stuck) == 2 else f"the {LOSSES[stuck[0]]} loss does not fall"
        return problem(f"in {STEPS} steps on {EXAMPLES} examples {rest}, not even when trained alone ({words})", **fall)
    how = "".join(f"; {LOSSES[name]} only when trained alone" for name in alone)
    return ok(f"{EXAMPLES} examples are learnt by heart: {words}{how}", **fall)


def _train(patient: Patient, loss: str, watched: list[str], deadline: float) -> dict[str, tuple[float, float]]:
    """Train on one of the output's losses, and give the weights back: each watched loss before and after."""
    batch = {name: array[:EXAMPLES] for name, array in patient.batch.items()}
    hidden = getattr(getattr(patient.model, "config", None), "hidden_size", WIDTH)
    peak = PEAK * min(1.0, math.sqrt(WIDTH / hidden))
    first: dict[str, float] = {}
    with untouched(patient.model):
        optimizer = AdamW(patient.model.parameters(), weight_decay=0.0)
        for step in range(STEPS + 1):
            optimizer.zero_grad()
            output = patient.forward(batch)
            last = {name: getattr(output, name).item() for name in watched}
            first = first or last
            done = all(_learnt((first[name], last[name])) for name in watched)
            if done or not all(map(math.isfinite, last.values())) or step == STEPS or time.monotonic() > deadline:
                break
            getattr(output, loss).backward()
            optimizer.lr = peak * min(1.0, (step + 1) / WARMUP)
            optimizer.step(clip_scale(gradient_norm(optimizer.parameters), 1.0))
    return {name: (first[name], last[name]) for name in watched}


def _learnt(fall: tuple[float, float]) -> bool:
    first, last = fall
    return last <= max(LEARNT * first, SMALL)
