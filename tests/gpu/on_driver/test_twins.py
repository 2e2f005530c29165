"""Every CUDA twin computes its formula, forward and backward, through the real CuPy."""

from typing import Any

import numpy as np
import pytest
from ops.cases import CASES

import minibert.ops.cuda.twins  # noqa: F401  -- fills registry.TWINS
from minibert.backend import device_of, to_host
from minibert.errors import InputError
from minibert.ops import registry
from minibert.ops.dropout import DropoutKey

from ..device_cases import LARGE, REFUSED, chosen, results, there

TABLE = [(name, number) for name in registry.TWINS for number in range(len(CASES[name]) + len(LARGE.get(name, [])))]


@pytest.mark.parametrize("twins", [True, False], ids=["twin", "formula"])
@pytest.mark.parametrize(("name", "number"), TABLE)
def test_the_device_computes_the_formula(name: str, number: int, twins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    args, hyper = chosen(name, number)
    monkeypatch.setattr(registry.preference, "twins", twins)
    op = registry.operation(name, list(map(there, args)))
    assert (op is registry.TWINS[name]) == twins
    if twins and name in REFUSED and REFUSED[name](*args):
        with pytest.raises(InputError):
            op.forward(*map(there, args), **hyper)
        return
    expected = results(registry.REGISTRY[name], args, hyper)
    for mine, formulas in zip(results(op, tuple(map(there, args)), hyper), expected, strict=True):
        assert (mine is None) == (formulas is None)
        if formulas is not None:
            assert device_of(mine) == "cuda" and mine.dtype == np.float32 and mine.shape == np.shape(formulas)
            near(to_host(mine), formulas)


def near(mine: np.ndarray, formulas: Any) -> None:
    """To float32's rounding, measured against the largest number."""
    largest = np.abs(formulas).max(initial=1e-3)
    np.testing.assert_allclose(mine, formulas, rtol=2e-4, atol=2e-5 * largest)


def test_every_twin_has_cases_small_and_large() -> None:
    assert set(registry.TWINS) == set(LARGE) and all(CASES[name] for name in registry.TWINS)


@pytest.mark.parametrize("start", [0, 5, 16, 31])
@pytest.mark.parametrize("size", [1, 15, 33, 700])
def test_dropout_keeps_the_same_numbers_as_on_the_cpu(start: int, size: int) -> None:
    key, x = DropoutKey(seed=2**40 + 1, step=7, site=3, start=start), np.ones(size, np.float32)
    here, _ = registry.REGISTRY["dropout"].forward(x, 0.4, key)
    dropped, _ = registry.TWINS["dropout"].forward(there(x), 0.4, key)
    np.testing.assert_array_equal(to_host(dropped) == 0, here == 0)
