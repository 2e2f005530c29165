"""Every CUDA twin computes its formula, forward and backward, through the real CuPy."""

from typing import Any

import numpy as np
import pytest
from ops.cases import CASES, Case, arguments, case

import minibert.ops.cuda.twins  # noqa: F401  -- fills registry.TWINS
from minibert.backend import device_of, is_array, to_device, to_host
from minibert.errors import InputError
from minibert.nn.positions import Positions
from minibert.ops import registry
from minibert.ops.dropout import DropoutKey
from minibert.ops.loss import IGNORE_INDEX

RNG = np.random.default_rng(7)
KEY = DropoutKey(seed=3, step=2, site=4)
AT = Positions(RNG.integers(0, 67, (2, 5)), 67)  # five of the positions of two texts


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def labels(*shape: int, classes: int) -> np.ndarray:
    some = RNG.integers(0, classes, shape)
    some.reshape(-1)[::4] = IGNORE_INDEX
    return some


# sizes beyond one warp, one block, and one column of blocks, which the cases of the formulas do not reach
LARGE: dict[str, list[Case]] = {
    "dropout": [case(normal(3, 1031), 0.3, KEY)],
    "matmul": [case(normal(2, 3, 33, 7), normal(2, 3, 7, 65)), case(normal(35, 9), normal(67, 35), True, True)],
    "linear": [case(normal(2, 33, 35), normal(37, 35), normal(37)), case(normal(521, 3), normal(5, 3), normal(5))],
    "gelu": [case(3 * normal(7, 131))],
    "linear_gelu": [case(normal(2, 33, 35), normal(37, 35), normal(37)),
                    case(normal(7, 9), normal(1031, 9), normal(1031))],
    "attention": [case(normal(2, 3, 5, 7), normal(2, 3, 67, 7), normal(2, 3, 67, 7), RNG.random((2, 1, 1, 67)) < 0.6,
                       0.3, KEY),
                  case(normal(2, 3, 5, 7), normal(2, 3, 67, 7), normal(2, 3, 67, 7), RNG.random((2, 3, 5, 1)) < 0.6),
                  case(normal(2, 3, 5, 7), normal(2, 3, 67, 7), normal(2, 3, 67, 7), None, 0.3,
                       KEY._replace(start=5, part=AT.of_scores(3)))],
    "add_norm": [case(normal(3, 1031), normal(3, 1031), normal(1031), normal(1031), 1e-12, 0.2, KEY),
                 case(normal(2, 5, 9), normal(2, 5, 9), normal(9), normal(9), 1e-12, 0.2,
                      KEY._replace(part=AT.of_states(9))),
                 case(normal(35, 67), normal(35, 67), normal(67), normal(67), 1e-5, 0.0, None, normal(67)),
                 case(normal(3, 1031), normal(3, 1031), normal(1031), normal(1031), 1e-12, 0.2, KEY, normal(1031)),
                 case(normal(2, 5, 9), normal(2, 5, 9), normal(9), normal(9), 1e-12, 0.2,
                      KEY._replace(part=AT.of_states(9)), normal(9))],
    "layer_norm": [case(normal(35, 33), normal(33), normal(33)), case(normal(2, 259, 5), normal(5), normal(5))],
    "cross_entropy": [case(normal(5, 7, 1031), labels(5, 7, classes=1031))],
    "embedding": [case(normal(35, 33), RNG.integers(0, 35, (3, 67)))],
}
REFUSED = {  # what the seam's callers never ask for, and the twin says so
    "matmul": lambda x, y, *_: x.ndim < 2 or y.ndim < 2 or x.shape[:-2] != y.shape[:-2],
    "attention": lambda q, k, v, mask=None, *_: mask is not None and mask.dtype != bool}
TABLE = [(name, number) for name in registry.TWINS for number in range(len(CASES[name]) + len(LARGE.get(name, [])))]


def float32(x: Any) -> Any:
    """The same, in its layout."""
    if not is_array(x) or x.dtype.kind != "f":
        return x
    y = x.astype(np.float32)
    return y if x.flags.c_contiguous or x.flags.f_contiguous else np.repeat(y, 2, axis=-1)[..., ::2]


def chosen(name: str, number: int) -> Case:
    """A case of the formulas', or, after the last, a large one."""
    args, hyper = arguments(name, number) if number < len(CASES[name]) else LARGE[name][number - len(CASES[name])]
    return Case(tuple(map(float32, args)), hyper)


def there(x: Any) -> Any:
    """A floating-point array on the device, and with gaps between its numbers if x has some."""
    if not is_array(x) or x.dtype.kind != "f":
        return x
    if x.flags.c_contiguous or x.flags.f_contiguous:
        return to_device(x, "cuda")
    return to_device(np.repeat(x, 2, axis=-1), "cuda")[..., ::2]


def results(op: registry.Op, args: tuple[Any, ...], hyper: dict[str, Any]) -> list[Any]:
    """The output and the gradients, for a gradient that is the same on every device."""
    y, saved = op.forward(*args, **hyper)
    dy = float32(np.random.default_rng(5).standard_normal(y.shape))
    return [y, *op.backward(dy if device_of(y) == "cpu" else there(dy), *saved)]


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
