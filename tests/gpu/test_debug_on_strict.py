"""The debugging tools on a model whose arrays are on a device as strict as CuPy, in float64."""

import copy
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from minibert import InputError, debug
from minibert.backend import device_of

from . import debug_checks as checks


@pytest.fixture
def models(device: ModuleType) -> checks.Models:
    return checks.pair_of_models(np.float64)


def test_step(models: checks.Models) -> None:
    checks.step_shows_the_same(models, 1e-10)


def test_why(models: checks.Models) -> None:
    checks.why_splits_the_same(models, 1e-9)


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
    checks.microscope_shows_the_step(models, 1e-12)


def test_replay(device: ModuleType, run: Path) -> None:
    checks.a_step_is_replayed(run, 1, 1e-6)  # no step before it: training there needs streams


def test_doctor_asks_for_a_model_on_the_cpu(models: checks.Models) -> None:
    _, model = models
    with pytest.raises(InputError, match="doctor examines a model on the cpu, in float64"):
        debug.doctor(model, checks.toy_batch())
    assert "reachability" in str(debug.doctor(copy.deepcopy(model).to("cpu"), checks.toy_batch()))
    assert device_of(model.bert.pooler.dense.weight.data) == "cuda"
