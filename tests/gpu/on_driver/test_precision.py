"""What products and a whole model lose when TF32 or bfloat16 is chosen: something, and no more than is said."""

import math
from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np
import pytest

from minibert.ops.cuda.blas import gemm, in_use, set_precision

from ..driver.record import record
from .test_model import float32_model, learn

U = {"tf32": 2.0**-11, "bfloat16": 2.0**-8}  # the largest relative error of a factor
OF_GRADIENTS = 16  # times u, of a tensor's largest number: two layers, and every product of both passes


@pytest.fixture(params=U)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A precision to compare with float32, which is in use before and after."""
    monkeypatch.setitem(in_use, "precision", "float32")
    yield request.param


@pytest.mark.parametrize("k", [1, 9, 130])
def test_an_error_grows_like_the_root_of_the_length(name: str, k: int) -> None:
    rng, u = np.random.default_rng(k), U[name]
    a, b = (cupy.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in ((41, k), (k, 53)))
    exact, sizes = a.get().astype(float) @ b.get(), np.abs(a.get()) @ np.abs(b.get())
    assert (np.abs(gemm(a, b).get() - exact) <= k * 2.0**-24 * sizes).all()
    set_precision(name)
    error = np.abs(gemm(a, b).get() - exact)
    assert (error <= (2 * u + u * u + k * 2.0**-24) * sizes).all()
    assert u / 4 < math.sqrt((error**2).mean() / k) < u  # of random factors of size 1


@pytest.mark.parametrize("labelled_only", [False, True])
def test_a_model_learns_nearly_the_same(name: str, labelled_only: bool) -> None:
    model, u = float32_model().to("cuda"), U[name]
    loss, gradients, _ = learn(model, labelled_only)
    set_precision(name)
    mine, found, asked = learn(model, labelled_only)
    assert loss != mine == pytest.approx(loss, rel=u)
    errors = {}
    for parameter, gradient in gradients.items():
        largest = max(np.abs(gradient).max(), 1e-2)  # the key's bias has no gradient but rounding
        errors[parameter] = np.abs(found[parameter] - gradient).max() / largest
        assert 0 < errors[parameter] < OF_GRADIENTS * u, parameter
    assert max(errors.values()) > 2 * u  # with bfloat16, more than TF32 would be allowed
    assert_every_product(asked, name)


def assert_every_product(asked: list[Any], name: str) -> None:
    products = [event for part in asked for event in part.journal if event.startswith("gemm")]
    assert products and all(event.startswith(f"gemm float32 as {name} ") for event in products)


def test_double_products_are_left_alone(name: str) -> None:
    a, b = cupy.asarray(np.random.default_rng(2).standard_normal((2, 7, 7)))
    before = gemm(a, b).get()
    set_precision(name)
    with record() as asked:
        np.testing.assert_array_equal(gemm(a, b).get(), before)
    assert "gemm float64 NN m=7 n=7 k=7 batch=1" in asked.journal
