"""Modules: names, tied parameters, loading, and where training starts from."""

from typing import Any

import numpy as np
import pytest

from minibert.debug.checking.gradcheck import gradcheck
from minibert.errors import InputError
from minibert.nn import (
    EncoderLayer,
    Initializer,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    Parameter,
    sinusoidal_positions,
)
from minibert.tensor import Tensor

RNG = np.random.default_rng(4)


def tensor(*shape: int) -> Tensor:
    return Tensor(RNG.standard_normal(shape), requires_grad=True)


def start() -> Initializer:
    return Initializer(seed=1, std=0.5, dtype=np.float64)


class Tied(Module):
    """Two layers that share one matrix, and a list of layers."""

    def __init__(self) -> None:
        self.first = Linear(4, 4, start())
        self.gain = Parameter(np.ones(3))
        self.layers = ModuleList([LayerNorm(4, start()), Linear(4, 4, start(), bias=False)])
        self.layers[1].weight = self.first.weight


def test_named_parameters_in_order_and_once() -> None:
    module = Tied()
    names = [name for name, _ in module.named_parameters()]
    assert names == ["gain", "first.weight", "first.bias", "layers.0.weight", "layers.0.bias"]
    module.name_parameters()
    assert [p.name for p in module.parameters()] == names
    assert [type(m).__name__ for m in module.modules()] == ["Tied", "Linear", "LayerNorm", "Linear"]
    assert {name for name, p in module.named_parameters() if p.decay} == {"gain", "first.weight"}


def test_a_tied_parameter_gets_the_gradients_of_both_its_places() -> None:
    module = Tied()
    x = tensor(2, 4)
    gradcheck(lambda: module.layers[1](module.layers[0](module.first(x))), x, module.first.weight).assert_ok()


class Hidden(Module):
    def __init__(self, parts: Any) -> None:
        self.parts = parts


@pytest.mark.parametrize("parts", [[Parameter(np.ones(2))], (Linear(2, 2, Initializer()),),
                                   {"a": Linear(2, 2, Initializer())}, [1, Parameter(np.ones(2))]])
def test_modules_in_plain_containers_are_refused(parts: Any) -> None:
    """They would run, and never be trained, saved or loaded."""
    with pytest.raises(InputError, match=f"parts holds modules or parameters in a {type(parts).__name__}"):
        Hidden(parts)
    assert Hidden([1, "a"]).parts == [1, "a"]


def test_zero_grad() -> None:
    layer = Linear(3, 2, start())
    layer(tensor(4, 3)).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad()
    assert layer.weight.grad is None and layer.bias.grad is None


def test_state_goes_out_and_in_again() -> None:
    one, other = (EncoderLayer(6, 2, 7, "gelu", 0.0, 0.0, False, 1e-12, init)
                  for init in (start(), Initializer(9)))
    x = RNG.standard_normal((3, 5, 6)).astype(np.float32)
    other.load_state_dict(one.state_dict())
    assert all(p.dtype == np.float32 and p.version == 1 for p in other.parameters())
    expected = one(Tensor(x.astype(np.float64))).data
    np.testing.assert_allclose(other(Tensor(x)).data, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("change", "message"), [
    ({"weight": None}, "missing weight; unknown none"),
    ({"wieght": np.ones(3)}, "missing none; unknown wieght"),
    ({"weight": np.ones((3, 2))}, r"the weight weight has shape \(3, 2\), but this model needs \(2, 3\)"),
    ({"weight": np.full((2, 3), np.nan)}, "the weight weight holds NaN or infinity")])
def test_weights_that_do_not_fit_change_nothing(change: dict[str, Any], message: str) -> None:
    layer = Linear(3, 2, start())
    before = layer.weight.data.copy()
    arrays = {"bias": np.ones(2), "weight": np.ones((2, 3))} | change
    with pytest.raises(InputError, match=message):
        layer.load_state_dict({name: a for name, a in arrays.items() if a is not None})
    np.testing.assert_array_equal(layer.weight.data, before)
    assert not layer.bias.data.any()


def test_assigning_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"the parameter has shape \(3,\), not \(4,\)"):
        Parameter(np.ones(3)).assign(np.ones(4))


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Tied must define forward"):
        Tied()(1)


def test_where_training_starts_from() -> None:
    init = Initializer(seed=3, std=0.02)
    layer, norm = Linear(300, 200, init), LayerNorm(50, init)
    assert abs(layer.weight.data.std() / 0.02 - 1) < 0.02
    assert abs(layer.weight.data.mean()) < 5 * 0.02 / 60_000**0.5
    assert not layer.bias.data.any() and (norm.weight.data == 1).all() and not norm.bias.data.any()
    assert all(p.dtype == np.float32 for p in (*layer.parameters(), *norm.parameters()))


def test_float32_and_float64_start_from_the_same_numbers() -> None:
    small, large = (Linear(7, 5, Initializer(3, 0.02, dtype)) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(small.weight.data, large.weight.data.astype(np.float32))
    assert (Linear(7, 5, Initializer(4)).weight.data != small.weight.data).all()


@pytest.mark.parametrize("longest", [10000.0, 50.0])
@pytest.mark.parametrize("hidden", [6, 7, 1])
def test_sinusoidal_positions(hidden: int, longest: float) -> None:
    P = sinusoidal_positions(40, hidden, np.float64, longest)
    for t in range(40):
        for h in range(hidden):
            angle = t / longest ** ((h - h % 2) / hidden)
            assert P[t, h] == pytest.approx(np.cos(angle) if h % 2 else np.sin(angle), abs=1e-13)
    assert sinusoidal_positions(4, hidden).dtype == np.float32
    default = sinusoidal_positions(4, hidden, np.float64)
    np.testing.assert_array_equal(default, sinusoidal_positions(4, hidden, np.float64, 1e4))
