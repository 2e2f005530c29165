"""The debugging tools with the real CuPy, in float32, on a graph of CUDA twins."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert.ops.registry import TWINS

from .. import debug_checks as checks


@pytest.fixture
def models() -> checks.Models:
    return checks.pair_of_models(np.float32)


def test_step(models: checks.Models) -> None:
    checks.step_shows_the_same(models, 3e-5)


def test_why(models: checks.Models) -> None:
    checks.why_splits_the_same(models, 1e-5)


def test_check_and_bisect(models: checks.Models) -> None:
    checks.check_and_bisect_find_nothing(models)


def test_bisect_of_a_function(models: checks.Models) -> None:
    checks.bisect_finds_a_cut(models)


def test_blame(models: checks.Models) -> None:
    checks.blame_finds_nothing(models)
    checks.blame_names_the_same(models)


def test_pictures(models: checks.Models) -> None:
    checks.pictures_are_drawn(models)


def test_microscope(models: checks.Models) -> None:
    checks.microscope_shows_the_step(models, 1e-5)


def test_replay(run: Path) -> None:
    checks.a_step_is_replayed(run, 31, 1e-5)


def test_ledger(models: checks.Models) -> None:
    checks.ledger_counts_the_same(models)


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_a_wrong_kernel_is_found(models: checks.Models, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.loss_of(models[1])  # so that the twins are there
    right = getattr(TWINS["linear_gelu"], part)

    @functools.wraps(right)
    def wrong(*args: Any) -> Any:
        result = right(*args)
        result[0].ravel()[7] *= 1.1
        return result

    checks.a_wrong_twin_is_found(models[1], "linear_gelu", part, wrong, monkeypatch)
