"""The worker's side: a process of its own that takes training steps when it is told to.

Requests are words, one a line, on standard input; answers are JSON, one a line, on standard output.  The first line in
holds the arguments, and the first answer says that the step is warm.  The process ends with its input, so it never
outlives the one that asked.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from minibert.bench.memory import peak_memory_mb

ANSWER = "\x1e"  # begins an answer (RFC 7464), so that it is told from what libraries print
WARM_UP = 2  # steps before the first answer: compilation, first allocations
QUICK_MS = 100.0  # a step quicker than that is repeated: others had the caches in between


class Served(NamedTuple):
    """What a worker offers."""

    step: Callable[[], float]  # takes one training step and returns its loss
    facts: dict[str, Any]  # for the first answer
    requests: dict[str, Callable[[], Any]] = {}  # noqa: RUF012 -- beyond step and memory; nobody changes it


def serve(build: Callable[[dict[str, Any]], Served]) -> None:
    """Build what is to be served from the arguments that come first, then answer requests until there are no more."""
    arguments = json.loads(sys.stdin.readline())
    start_mb = peak_memory_mb()
    served = build(arguments)
    for _ in range(WARM_UP):
        loss = served.step()
    requests = {"step": lambda: _timed(served.step), "memory": peak_memory_mb, **served.requests}
    _answer({"start_mb": start_mb, "loss": loss, **served.facts})
    for line in sys.stdin:
        _answer(requests[line.strip()]())


def _timed(step: Callable[[], float]) -> float:
    """Milliseconds of one step."""
    for _ in range(2):
        start = time.perf_counter()
        step()
        ms = 1e3 * (time.perf_counter() - start)
        if ms > QUICK_MS:
            break
    return ms


def _answer(content: Any) -> None:
    sys.stdout.write(f"{ANSWER}{json.dumps(content)}\n")
    sys.stdout.flush()
