"""Functions of tensors: dtypes, numbers on either side, and the normal distribution behind GELU."""

import inspect
import math
from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert.errors import InputError
from minibert.ops.erf import BLOCK, normal_cdf
from minibert.tensor import Tensor


def single(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(1).uniform(0.5, 2.0, shape).astype(np.float32), requires_grad=True)


def phi(x: Any) -> Any:
    """Phi by the C library, in float64."""
    return np.array([0.5 + 0.5 * math.erf(v / math.sqrt(2.0)) for v in x.ravel().tolist()]).reshape(x.shape)


def test_every_function_is_documented() -> None:
    functions = [f for _, f in inspect.getmembers(F, inspect.isfunction) if f.__module__ == F.__name__]
    assert len(functions) >= 24
    assert all(f.__doc__ for f in functions)


COUNT = np.array([3, 1, 2])


@pytest.mark.parametrize("f", [
    lambda x: x * 2, lambda x: 2.5 * x, lambda x: x + True, lambda x: 1 - x, lambda x: 1 / x, lambda x: -x,
    lambda x: x - 0.5, lambda x: x / 3, lambda x: x**2, lambda x: x**-0.5, lambda x: x ** np.float64(2.0),
    lambda x: np.float64(2.0) * x, lambda x: np.float32(2.0) - x, lambda x: np.int64(3) / x,
    lambda x: x * np.int64(3), lambda x: x / COUNT.sum(), lambda x: x * COUNT, lambda x: COUNT + x,
    lambda x: x * (COUNT > 1), lambda x: x * Tensor(COUNT), lambda x: x * np.float64(0.5),
    lambda x: np.ones(3, np.float32) * x, lambda x: F.maximum(x, 1), lambda x: F.maximum(x, COUNT),
    lambda x: F.where(COUNT > 1, x, -1e9), lambda x: F.where(COUNT > 1, 0.0, x), lambda x: x.mean(),
    lambda x: x[1], lambda x: F.max(x)])
def test_numbers_and_integers_do_not_promote_float32(f: Any) -> None:
    x = single(3)
    y = f(x)
    assert isinstance(y, Tensor)
    assert y.dtype == np.float32
    y.backward(np.full(y.shape, 0.7, np.float32))
    assert x.grad.dtype == np.float32 and x.grad.shape == (3,)


def test_arithmetic_with_numbers_has_the_right_values() -> None:
    x = single(3)
    a = x.data
    for y, expected in ((1 - x, 1 - a), (2 / x, 2 / a), (x - 2, a - 2), (-x, -a), (x**2, a * a),
                        (COUNT - x, COUNT - a), (np.float64(2) / x, 2 / a),
                        (F.where(COUNT > 1, 0.0, x), np.where(COUNT > 1, 0, a)),
                        (F.maximum(x, 1), np.maximum(a, 1))):
        np.testing.assert_allclose(y.data, expected, rtol=1e-6)


def test_integer_tensors_do_not_cut_fractions_off() -> None:
    np.testing.assert_array_equal((Tensor(np.array([1, 2])) + 0.5).data, [1.5, 2.5])


@pytest.mark.parametrize("exponent", [Tensor(np.ones(3)), np.ones(3), "2"])
def test_an_exponent_must_be_a_number(exponent: Any) -> None:
    with pytest.raises(InputError, match="an exponent must be a fixed number, not a"):
        single(3) ** exponent


def test_a_list_becomes_float32() -> None:
    assert Tensor([1.0, 2.0]).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.int64
    assert Tensor(np.float64(2.0)).dtype == np.float64 and Tensor(np.float64(2.0)).shape == ()


def test_normal_cdf_in_float32() -> None:
    x = np.linspace(-10.0, 10.0, 200_003, dtype=np.float32)
    error = np.abs(normal_cdf(x) - phi(x.astype(np.float64)))
    assert normal_cdf(x).dtype == np.float32
    assert error.max() <= 1.5e-7


def test_erf_in_float32() -> None:
    """erf(z) = 2 Phi(z sqrt(2)) - 1, at twice the error of Phi."""
    x = np.linspace(-10.0, 10.0, 100_001, dtype=np.float32)
    erf = np.array([math.erf(v / math.sqrt(2.0)) for v in x.astype(np.float64).tolist()])
    assert np.abs(2.0 * normal_cdf(x).astype(np.float64) - 1.0 - erf).max() <= 3e-7


def test_normal_cdf_in_float64() -> None:
    x = np.linspace(-10.0, 10.0, 20_001)
    assert np.abs(normal_cdf(x) - phi(x)).max() <= 1e-15
    assert normal_cdf(x).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_cdf_of_any_layout(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal((BLOCK // 8 + 3, 9)).astype(dtype)
    for view in (x, x.T, x[:, ::2], x[::-1, 1:], x[:0], x[0, 0:1].reshape(())):
        y = normal_cdf(view)
        assert y.shape == view.shape and y.dtype == dtype
        np.testing.assert_allclose(y, phi(np.asarray(view, np.float64)), atol=1.5e-7)


@pytest.mark.filterwarnings("error")
def test_normal_cdf_in_float32_has_no_end() -> None:
    """The fitted polynomial grows beyond all numbers, and the value stays where it belongs, without a word."""
    x = np.concatenate([np.linspace(5.6, 60.0, 4001), np.geomspace(60.0, 3.4e38, 400)]).astype(np.float32)
    assert (normal_cdf(x) >= 1.0 - 2e-7).all() and (normal_cdf(x) <= 1.0).all()
    assert (normal_cdf(-x) <= 2e-7).all() and (normal_cdf(-x) >= 0.0).all()


def test_normal_cdf_at_the_ends() -> None:
    for dtype in (np.float32, np.float64):
        ends = normal_cdf(np.array([-np.inf, -40.0, 0.0, 40.0, np.inf], dtype))
        np.testing.assert_array_equal(ends, [0.0, 0.0, 0.5, 1.0, 1.0])
        assert np.isnan(normal_cdf(np.array([np.nan], dtype)))


def test_lists_of_ids_and_labels_and_a_shape_as_a_tuple_are_taken_as_they_are_meant() -> None:
    table = Tensor(np.random.default_rng(5).standard_normal((7, 6)))
    x = F.embedding(table, [[1, 3, 3], [0, 6, 2]])
    assert (x.data == table.data[np.array([[1, 3, 3], [0, 6, 2]])]).all()
    assert x.reshape((3, 12)).shape == x.reshape(3, 12).shape == (3, 12)
    assert F.cross_entropy(x, [[1, 2, 5], [0, -100, 3]]).item() > 0


def test_a_count_below_the_labels_at_hand_is_refused() -> None:
    logits = Tensor(np.zeros((3, 4)))
    with pytest.raises(InputError, match="count is 2, but there are 3 labelled positions"):
        F.cross_entropy(logits, np.array([1, 2, 3]), 2)
    assert F.cross_entropy(logits, np.array([1, -100, 3]), 2).item() == pytest.approx(np.log(4))
