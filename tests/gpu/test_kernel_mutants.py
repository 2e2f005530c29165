"""Every bug that is planted in a CUDA kernel is caught by the kernel's check, unless it changes no number.

So what test_kernels.py says of the kernels is worth as much as the share caught here.  Three hundred small builds take
minutes, so one in eight is planted unless the environment variable ALL_KERNEL_BUGS is set, as it is in CI.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .kernel_checks import CHECKS
from .kernel_mutants import SUBTLE, SURVIVED, Mutant, mutants

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the simulator needs g++")
TESTS = Path(__file__).parents[1]
MUTANTS = {mutant.name: mutant for mutant in mutants()}
SLOWER = "several threads write each number, all of them the same one, from what nobody changes: only slower"
LOOKS_TWICE = "the largest of the same numbers, some of them looked at twice"
EQUIVALENT = {  # why no check can see it
    "masked_softmax: += blockDim.x) -> += 32)": LOOKS_TWICE,
    "cross_entropy: += blockDim.x) -> += 32)": LOOKS_TWICE,
    "masked_softmax_backward: += blockDim.x) -> += 32) (2)": SLOWER,
    "cross_entropy_backward: += blockDim.x) -> += 32)": SLOWER,
    "add_norm_backward: += blockDim.x) -> += 32) (2)": SLOWER,
    "first_of_id: += blockDim.x) -> += 32)": "some ids are looked at twice, and none is left out",
    "embedding_backward: start < n -> start <= n": "one more round, in which no thread has a place: place < n",
    "over_block: shfl_xor -> shfl_down": "the first lane has its warp's sum in this round too, and it alone writes it",
}


def judge(some: list[Mutant]) -> dict[str, str]:
    """By name, how each was caught, or that it survived."""
    path = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}  # a process with threads may not fork
    done = subprocess.run([sys.executable, "-m", "gpu.kernel_mutants"], cwd=TESTS, env=environment, encoding="utf-8",
                          input=json.dumps({mutant.name: (mutant.source, mutant.kernels) for mutant in some}),
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def summary(verdicts: Iterable[str]) -> str:
    how = Counter(verdicts)
    total, survivors = how.total(), how.pop(SURVIVED, 0)
    kinds = ", ".join(f"{kind} {n}" for kind, n in how.most_common())
    return (f"planted kernel bugs: {total}; caught: {total - survivors} ({1 - survivors / total:.1%}: {kinds}); "
            f"survivors: {survivors}")


def test_every_kernel_has_planted_bugs() -> None:
    planted = Counter(mutant.function for mutant in MUTANTS.values())
    assert {name for name in CHECKS if planted[name] < 3} == set()
    assert {name for name, *_ in SUBTLE} <= planted.keys()
    assert len({mutant.source for mutant in MUTANTS.values()}) == len(MUTANTS) >= 100


def test_planted_bugs_are_caught_unless_they_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    every = list(MUTANTS.values())[::1 if "ALL_KERNEL_BUGS" in os.environ else 8]
    with ThreadPoolExecutor(2) as two:
        even, odd = two.map(judge, (every[::2], every[1::2]))
    verdicts = even | odd
    assert verdicts.keys() == {mutant.name for mutant in every}
    survivors = {name for name, verdict in verdicts.items() if verdict == SURVIVED}
    missed = survivors - EQUIVALENT.keys()
    with capsys.disabled():
        print(f"\n{summary(verdicts.values())}, {len(missed)} of them not explained")
    assert not missed, "no check sees these:\n" + "\n".join(f"{x} ({MUTANTS[x].what})" for x in sorted(missed))
    assert not (EQUIVALENT.keys() & verdicts.keys()) - survivors, "explained as survivors, and are none"
    assert EQUIVALENT.keys() <= MUTANTS.keys()
