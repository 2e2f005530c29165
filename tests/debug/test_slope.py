"""A measured slope is as far off as it says, and no farther."""

from collections.abc import Callable

import numpy as np
import pytest

from minibert.debug.checking.slope import Slope, measured_noise, slope

Function = Callable[[np.ndarray], np.ndarray]
KNOWN: dict[str, tuple[Function, Function]] = {
    "exp": (np.exp, np.exp), "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "1 / x": (lambda x: 1 / x, lambda x: -1 / x**2), "log": (np.log, lambda x: 1 / x),
    "x^-2.5": (lambda x: x**-2.5, lambda x: -2.5 * x**-3.5), "x^3": (lambda x: x**3, lambda x: 3 * x**2),
    "sin 30x": (lambda x: np.sin(30 * x), lambda x: 30 * np.cos(30 * x)), "3 x": (lambda x: 3 * x, lambda x: 3 + 0 * x)}
POINTS = (*np.random.default_rng(0).uniform(0.3, 3.0, 5), 1e-3, 1e-6, 17.3)  # two of them beside a pole


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("x", POINTS)
def test_the_budget_bounds_the_error(name: str, x: float) -> None:
    f, derivative = KNOWN[name]
    s = slope(lambda t: np.asarray(f(np.asarray(x + t))))
    error = abs(s.value - derivative(x))
    assert error <= s.truncation + s.round_off and s.kink == 0.0
    assert s.error <= 1e-7 * max(abs(derivative(x)), abs(f(x)))  # and the budget is small enough to be of use


def test_the_budget_bounds_the_error_of_float32_too() -> None:
    for x in np.linspace(0.3, 3.1, 7).astype(np.float32):
        s = slope(lambda t, x=x: np.asarray(np.tanh(x + np.float32(t))))
        assert abs(s.value - (1 - np.tanh(float(x)) ** 2)) <= s.error < 1e-3


def test_truncation_has_the_right_size_and_is_all_there_is_where_nothing_is_rounded() -> None:
    """With a noise of 1e-3 the steps stay long, and what is left out is far above rounding."""
    errors, truncations = [], []
    for x in np.linspace(0.5, 1.5, 11):
        s = slope(lambda t, x=x: np.sin(30 * np.asarray(x + t)) + 1e9)  # 1e9: rounds at 1e-7
        errors.append(abs(s.value - 30 * np.cos(30 * x)))
        truncations.append(s.truncation)
        assert errors[-1] <= s.error
        assert s.step > 1e-3
    assert np.median(errors) < np.median(truncations) < 3e3 * np.median(errors)


@pytest.mark.parametrize("k", [1.0, 1e3])
def test_round_off_is_a_few_eps_of_the_function_over_the_step(k: float) -> None:
    x = np.random.default_rng(1).uniform(0.5, 1.5, 40)
    s = slope(lambda t: np.asarray(np.exp(x + t) * k))
    eps_f_over_h = np.finfo(float).eps * np.linalg.norm(np.exp(x) * k) / s.step
    assert eps_f_over_h < s.round_off < 100 * eps_f_over_h


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_noise_is_measured_where_something_cancels(size: float) -> None:
    """(x + size) - size: the result is of order 1, and its rounding of order size."""
    rng, noises = np.random.default_rng(2), []
    for x in rng.uniform(0.5, 1.5, 20):
        def terms(t: float, x: float = x) -> np.ndarray:
            return np.asarray(((np.sin(x + t) + size) - size) * 1.1)
        s = slope(terms)
        assert abs(s.value - 1.1 * np.cos(x)) <= s.error
        noises.append(measured_noise(terms, terms(0.0), 1.0))
    assert 0.3 < np.median(noises) / (np.finfo(float).eps * size) < 10


@pytest.mark.parametrize("distance", [1e-8, 1e-5, 1e-3, 0.02, 0.07, 0.3])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_kink_beside_the_point_is_stepped_around(distance: float, side: int) -> None:
    s = slope(lambda t: np.array([np.maximum(np.sin(t) - side * distance, 0.0), np.exp(t)]))
    assert abs(s.value - (1.0 + (side < 0))) <= s.error < 1e-5
    assert s.step < 2 * distance


def test_a_kink_at_the_point_is_seen_and_its_jump_measured() -> None:
    s = slope(lambda t: np.array([3.0 * np.maximum(t, 0.0), np.exp(t)]))
    assert s.value == pytest.approx(2.5) and s.kink == pytest.approx(1.5)
    two = slope(lambda t: np.array([np.maximum(t, 0.0), -np.maximum(t, 0.0)]))  # invisible in their sum
    assert two.value == pytest.approx(0.0, abs=1e-12) and two.kink == pytest.approx(1.0)


def test_no_kink_is_seen_where_there_is_none() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        x, v = rng.standard_normal((2, 7, 5))
        assert slope(lambda t, x=x, v=v: np.tanh(x + t * v) * np.exp(x)).kink == 0.0


@pytest.mark.parametrize("stair", [1e-9, 1e-7, 1e-5])
def test_stairs_are_no_slope_of_0(stair: float) -> None:
    """A part of a function that computes in less than float64 is flat in the small: that must not pass for exact."""
    for x in np.random.default_rng(4).uniform(0.5, 1.5, 20):
        s = slope(lambda t, x=x: np.asarray(np.round(np.sin(x + t) / stair) * stair))
        assert s.value != 0.0 or s.truncation > 0.1
        assert abs(s.value - np.cos(x)) <= s.error + 2.0 * stair / s.step


def test_where_nothing_is_finite_nothing_is_claimed() -> None:
    s = slope(lambda t: np.asarray(np.nan * t))
    assert s == Slope() or (np.isnan(s.value) and np.isinf(s.error))
