"""Every CUDA kernel computes its formula, whatever the order of its threads, and touches nothing else."""

import shutil

import numpy as np
import pytest

from .cuda_on_cpu.simulator import SCHEDULES, Module
from .kernel_checks import CHECKS, FOLDER, Run

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the simulator needs g++")
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.cu"))}


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(SOURCES["common"] + "".join(text for name, text in SOURCES.items() if name != "common"))


def test_every_kernel_has_a_check(module: Module) -> None:
    assert sorted(module.names) == sorted(CHECKS)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", CHECKS)
def test_a_kernel_computes_its_formula(module: Module, name: str, schedule: str) -> None:
    with module.schedule(schedule, seed=1):
        CHECKS[name](Run(module, schedule in ("reverse", "greedy"), np.random.default_rng(5)))
