"""Every bug that is planted in a CUDA kernel is caught by the kernel's check, unless it changes no number.

So what test_kernels.py says of the kernels is worth as much as the share caught here.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .kernel_checks import CHECKS
from .kernel_mutants import CAUGHT, Mutant, mutants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the simulator needs g++")
TESTS = Path(__file__).parents[1]
SURVIVED = "survived"
KILLED = {-signal.SIGALRM: "endless loops", -signal.SIGSEGV: "crashes", -signal.SIGABRT: "crashes"}
MUTANTS = {mutant.name: mutant for mutant in mutants()}
SLOWER = "several threads write each number, all of them the same one, from what nobody changes: only slower"
LOOKS_TWICE = "the largest of the same numbers, some of them looked at twice"
EQUIVALENT = {  # why no check can see it
    "masked_softmax: += blockDim.x) -> += 32)": LOOKS_TWICE,
    "cross_entropy: += blockDim.x) -> += 32)": LOOKS_TWICE,
    "masked_softmax_backward: += blockDim.x) -> += 32) (2)": SLOWER,
    "cross_entropy_backward: += blockDim.x) -> += 32)": SLOWER,
    "add_norm_backward: += blockDim.x) -> += 32) (2)": SLOWER,
    "embedding_backward_in_order: start < n -> start <= n": "one more round, in which no thread has an id: here < n",
    "over_block: shfl_xor -> shfl_down": "the first lane has its warp's sum in this round too, and it alone writes it",
}


def judged(mutant: Mutant) -> str:
    """How a mutant was caught, or that it survived; in a process of its own, which it may crash or never leave."""
    path = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-m", "gpu.kernel_mutants", *mutant.kernels], input=mutant.source, cwd=TESTS,
                          env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True,
                          encoding="utf-8")
    if done.returncode in KILLED:
        return KILLED[done.returncode]
    understood = done.returncode in (0, CAUGHT) and "g++ says" not in done.stdout
    assert understood, f"{mutant.name}: {done.stdout}{done.stderr}"
    if done.returncode == 0:
        return SURVIVED
    if done.stdout.startswith("AssertionError"):
        return "wrong numbers"
    return "illegal addresses" if "illegal address" in done.stdout else "stuck barriers"


def summary(verdicts: Iterable[str]) -> str:
    how = Counter(verdicts)
    total, survivors = how.total(), how.pop(SURVIVED, 0)
    kinds = ", ".join(f"{kind} {n}" for kind, n in how.most_common())
    return (f"planted kernel bugs: {total}; caught: {total - survivors} ({1 - survivors / total:.1%}: {kinds}); "
            f"survivors: {survivors}")


def test_every_kernel_has_planted_bugs() -> None:
    planted = Counter(mutant.function for mutant in MUTANTS.values())
    assert {name for name in CHECKS if planted[name] < 3} == set()
    assert len({mutant.source for mutant in MUTANTS.values()}) == len(MUTANTS) >= 100


def test_planted_bugs_are_caught_unless_they_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(2) as two:
        verdicts = dict(zip(MUTANTS, two.map(judged, MUTANTS.values()), strict=True))
    survivors = {name for name, verdict in verdicts.items() if verdict == SURVIVED}
    missed = survivors - EQUIVALENT.keys()
    with capsys.disabled():
        print(f"\n{summary(verdicts.values())}, {len(missed)} of them not explained")
    assert not missed, "no check sees these:\n" + "\n".join(f"{x} ({MUTANTS[x].what})" for x in sorted(missed))
    assert not EQUIVALENT.keys() - survivors, "explained as survivors, and are none"
