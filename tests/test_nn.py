"""Layers: the gradient of every parameter and input, checked against the slope of the whole layer."""

from typing import Any

import numpy as np
import pytest

from minibert import functional
from minibert.debug.checking.gradcheck import gradcheck
from minibert.errors import InputError
from minibert.nn import (
    Embedding,
    EncoderLayer,
    Initializer,
    LayerNorm,
    Linear,
    Module,
    MultiHeadAttention,
    Residual,
    SelfAttention,
    seed_dropout,
)
from minibert.nn.encoder import FeedForward
from minibert.tensor import Tensor

B, T, H, F = 3, 5, 6, 7
RNG = np.random.default_rng(4)
LOOK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)[:, None, None]  # the last: nowhere


def tensor(*shape: int) -> Tensor:
    return Tensor(RNG.standard_normal(shape), requires_grad=True)


def start(std: float = 0.5) -> Initializer:
    return Initializer(seed=1, std=std, dtype=np.float64)


def check_module(module: Module, *args: Any, x: Tensor, **hyper: Any) -> None:
    """The gradients of all parameters, none at 0 or 1 where symmetries could hide an error, and of x."""
    module.name_parameters()
    for parameter in module.parameters():
        parameter.assign(parameter.data + 0.3 * RNG.standard_normal(parameter.shape))
    report = gradcheck(lambda: module(x, *args, **hyper), x, *module.parameters())
    report.assert_ok()
    assert len(report.rows) == 1 + len(list(module.parameters()))


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    check_module(Linear(H, F, start(), bias), x=tensor(B, T, H))


def test_layer_norm() -> None:
    check_module(LayerNorm(H, start()), x=tensor(B, T, H))


def test_embedding_with_repeated_ids() -> None:
    table = Embedding(9, H, start())
    ids = np.array([[1, 4, 1], [8, 1, 0]])
    gradcheck(lambda: table(ids), table.weight).assert_ok()
    table(ids).sum().backward()
    np.testing.assert_array_equal(table.weight.grad[:, 0], [1, 3, 0, 0, 1, 0, 0, 0, 1])


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "tanh"])
def test_feed_forward(activation: str) -> None:
    check_module(FeedForward(H, F, activation, start()), x=tensor(B, T, H))


def test_gelu_is_one_operation_with_the_map_before_it_and_the_numbers_are_those_of_two() -> None:
    module, x = FeedForward(H, F, "gelu", start()), tensor(B, T, H)
    module.dense.bias.assign(RNG.standard_normal(F))
    y = module(x)
    assert y.node.op.name == "linear_gelu" and y.node.forward_frame()[-1].filename.endswith("encoder.py")
    np.testing.assert_array_equal(y.data, functional.gelu(module.dense(x)).data)
    module.dense.bias = None
    y = module(x)
    assert y.node.op.name == "gelu"
    np.testing.assert_array_equal(y.data, functional.gelu(functional.linear(x, module.dense.weight)).data)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match="unknown activation 'swish': choose one of gelu, gelu_new"):
        FeedForward(H, F, "swish", start())


@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("mask", [None, LOOK])
def test_self_attention(heads: int, mask: Any) -> None:
    check_module(SelfAttention(H, heads, 0.0, start()), mask, x=tensor(B, T, H))


def test_heads_must_divide_the_hidden_size() -> None:
    with pytest.raises(InputError, match="hidden size 6 is not divisible by 4 heads"):
        SelfAttention(H, 4, 0.0, start())


def test_an_example_that_may_look_nowhere_attends_to_nothing() -> None:
    module = SelfAttention(H, 2, 0.0, start())
    x = tensor(B, T, H)
    y = module(x, LOOK)
    assert not y.data[2].any() and y.data[:2].all()
    y.backward(RNG.standard_normal(y.shape))
    assert not x.grad[2].any() and np.isfinite(x.grad).all()


def test_who_looks_at_whom_is_reported() -> None:
    probs: list[Any] = []
    SelfAttention(H, 2, 0.0, start())(tensor(B, T, H), LOOK, probs)
    (p,) = probs
    assert p.shape == (B, 2, T, T)
    np.testing.assert_allclose(p.sum(axis=-1)[:2], 1.0, rtol=1e-14)
    assert not p[2].any()
    assert not p[0, :, :, 3:].any()


def test_the_gradient_of_the_key_bias_is_zero() -> None:
    """Softmax does not see a constant added to a row: the one parameter whose true gradient is 0."""
    module = SelfAttention(H, 2, 0.0, start())
    y = module(tensor(B, T, H))
    y.backward(RNG.standard_normal(y.shape))
    np.testing.assert_allclose(module.key.bias.grad, 0.0, atol=1e-14)
    assert np.abs(module.query.bias.grad).max() > 1e-3


@pytest.mark.parametrize("pre_norm", [False, True])
def test_multi_head_attention(pre_norm: bool) -> None:
    check_module(MultiHeadAttention(H, 3, 0.0, 0.0, pre_norm, 1e-12, start()), LOOK, x=tensor(B, T, H))


def encoder_layer(activation: str = "gelu", heads: int = 2, pre_norm: bool = False,
                  p: float = 0.0) -> EncoderLayer:
    return EncoderLayer(H, heads, F, activation, p, p, pre_norm, 1e-12, start())


@pytest.mark.parametrize(("activation", "heads", "pre_norm", "mask"), [
    ("gelu", 2, False, None), ("gelu", 2, True, LOOK), ("gelu_new", 1, False, LOOK), ("relu", 3, True, None)])
def test_encoder_layer(activation: str, heads: int, pre_norm: bool, mask: Any) -> None:
    check_module(encoder_layer(activation, heads, pre_norm), mask, x=tensor(B, T, H))


def test_encoder_layer_with_one_token() -> None:
    check_module(encoder_layer(), x=tensor(2, 1, H))


def test_encoder_layer_while_training_with_dropout() -> None:
    layer = encoder_layer(p=0.3)
    stream = seed_dropout(layer, 5)
    x = tensor(B, T, H)

    def f() -> Tensor:
        stream.seek(step=8)
        return layer(x, LOOK)
    gradcheck(f, x, *layer.parameters()).assert_ok()


def test_gradcheck_notices_dropout_that_moves_on() -> None:
    layer = encoder_layer(p=0.3)
    seed_dropout(layer, 5)
    with pytest.raises(InputError, match="f gave two different results for the same leaves"):
        gradcheck(lambda: layer(Tensor(np.ones((1, 2, H)))), *layer.parameters())


@pytest.mark.parametrize("pre_norm", [False, True])
def test_every_parameter_is_reached(pre_norm: bool) -> None:
    layer = encoder_layer(pre_norm=pre_norm)
    y = layer(tensor(B, T, H))
    y.backward(RNG.standard_normal(y.shape))
    reached = {name: float(np.abs(p.grad).max()) for name, p in layer.named_parameters()}
    assert len(reached) == 16
    assert {name for name, size in reached.items() if size < 1e-12} == {"attention.self.key.bias"}


def test_the_place_of_the_normalisation() -> None:
    """Post-norm gives normalised rows; pre-norm adds to x whatever the sub-layer made of the normalised x."""
    x, fx = tensor(B, T, H), tensor(B, T, F)
    post, pre = (Residual(F, H, 0.0, pre_norm, 1e-12, start()) for pre_norm in (False, True))
    np.testing.assert_allclose(post(fx, x).data.mean(axis=-1), 0.0, atol=1e-14)
    np.testing.assert_allclose((pre(fx, x) - x).data, pre.dense(fx).data, atol=1e-14)
    assert post.enter(x) is x
    np.testing.assert_allclose(pre.enter(x).data.std(axis=-1), 1.0, rtol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_bias_that_the_sum_adds_is_dropped_with_the_product(p: float, bias: bool) -> None:
    module, x, fx = Residual(F, H, p, False, 1e-12, start()), tensor(B, T, H), tensor(B, T, F)
    seed_dropout(module, 5)
    module.dense.bias = module.dense.bias if bias else None
    for parameter in module.parameters():
        parameter.assign(RNG.standard_normal(parameter.shape))
    y = module(fx, x)
    module.dropout.stream.seek(0)
    np.testing.assert_array_equal(y.data, module.LayerNorm(x + module.dropout(module.dense(fx))).data)
