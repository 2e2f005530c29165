"""The count of operations equals one by hand, and what the operations really multiply."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minibert.bench.flops import step_flops
from minibert.bench.shape import Shape
from minibert.bench.step import TrainingStep
from minibert.ops.registry import REGISTRY

from .conftest import TINY


def test_a_count_by_hand() -> None:
    # 32 tokens; a layer has 4 x 16 x 16 + 2 x 16 x 64 = 3072 weights; 4 tokens are masked
    head = 6 * 4 * (16 * 50 + 16 * 16)
    assert step_flops(TINY, 4, whole=True) == 6 * 32 * 3072 + 12 * 32 * 8 * 16 + head == 664_320
    # of the only layer, keys and values are 512 weights; the other 2560 are used at 4 masked and 4 first positions
    assert step_flops(TINY, 4) == 6 * 32 * 512 + 6 * 8 * 2560 + 12 * 8 * 8 * 16 + head


def test_the_default_step_takes_what_was_once_measured_for_it() -> None:
    assert step_flops(Shape(), Shape().masked, whole=True) == pytest.approx(91.6e9, rel=1e-3)


class Counting(np.ndarray):
    """An array whose matrix products are counted."""

    flops = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **details: Any) -> Any:
        if "out" in details:
            details["out"] = plain(details["out"])
        result = getattr(ufunc, method)(*plain(inputs), **details)
        if ufunc is np.matmul and min(x.ndim for x in inputs) > 1 and inputs[1].shape[-1] > 1:  # no sums of rows
            Counting.flops += 2 * result.size * inputs[0].shape[-1]
        return counted(result)


def counted(x: Any) -> Any:
    return x.view(Counting) if isinstance(x, np.ndarray) else x


def plain(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(plain, x))
    return x.view(np.ndarray) if isinstance(x, Counting) else x


def counting(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` on counting arrays; its results are plain ones."""
    def wrapped(*args: Any, **hyper: Any) -> Any:
        return plain(function(*map(counted, args), **hyper))

    return wrapped


@pytest.mark.parametrize("shape", [TINY, Shape(2, 24, 3, 61, 3, 13)], ids=str)
def test_the_count_is_what_the_operations_multiply(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, op in REGISTRY.items():
        changed = replace(op, forward=counting(op.forward), backward=counting(op.backward))
        changed.__dict__["positions"] = () if op.variadic else op.positions  # known by the true signature only
        monkeypatch.setitem(REGISTRY, name, changed)
    monkeypatch.setattr(Counting, "flops", 0)
    step = TrainingStep(shape, 1, 2)
    step()
    step.close()
    small = 6 * shape.batch * (shape.hidden**2 + 2 * shape.hidden)  # pooler and next sentence, which are left out
    assert Counting.flops == step_flops(shape, shape.masked) + small
