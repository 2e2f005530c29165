"""A fused operation equals the graph of its primitives, in its values and in every gradient."""

import numpy as np
import pytest

from minibert import functional as F
from minibert.debug.checking.gradcheck import gradcheck, random_like
from minibert.ops.loss import IGNORE_INDEX
from minibert.tensor import Tensor

from .cases import KEY_FROM_5, coin, normal


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [Tensor(normal(*shape), requires_grad=True) for shape in shapes]


def same_graphs(composite: Tensor, primitive: Tensor, inputs: list[Tensor]) -> None:
    np.testing.assert_allclose(composite.data, primitive.data, rtol=1e-12, atol=1e-14)
    dy = random_like(np.random.default_rng(8), composite.shape)
    composite.backward(dy)
    expected = [x.grad for x in inputs]
    for x in inputs:
        x.grad = None
    primitive.backward(dy)
    for x, dx in zip(inputs, expected, strict=True):
        np.testing.assert_allclose(dx, x.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_attention_is_the_graph_of_its_primitives(p: float) -> None:
    B, A, T, S, D = 2, 3, 4, 5, 6
    q, k, v = leaves((B, A, T, D), (B, A, S, D), (B, A, S, D))
    mask = coin(B, 1, T, S)
    mask[0, 0, 1] = False
    scores = F.where(np.broadcast_to(mask, (B, A, T, S)), F.matmul(q, k, tb=True) * D**-0.5, -np.inf)
    probs = F.softmax(scores)
    if p:
        probs = F.dropout(probs, p, KEY_FROM_5)
    composite = F.attention(q, k, v, mask, p, KEY_FROM_5)
    same_graphs(composite, probs @ v, [q, k, v])
    assert not composite.data[0, :, 1].any()  # a query that may look nowhere


def test_linear_is_matmul_and_add() -> None:
    x, weight, bias = leaves((2, 3, 5), (4, 5), (4,))
    same_graphs(F.linear(x, weight, bias), F.matmul(x, weight, tb=True) + bias, [x, weight, bias])


def test_linear_gelu_is_linear_and_gelu() -> None:
    x, weight, bias = leaves((2, 3, 5), (4, 5), (4,))
    same_graphs(F.linear_gelu(x, weight, bias), F.gelu(F.linear(x, weight, bias)), [x, weight, bias])


def test_layer_norm_is_the_graph_of_its_formulas() -> None:
    x, gamma, beta = leaves((2, 3, 7), (7,), (7,))
    xc = x - x.mean(axis=-1, keepdims=True)
    xhat = xc / F.sqrt((xc * xc).mean(axis=-1, keepdims=True) + 1e-12)
    same_graphs(F.layer_norm(x, gamma, beta), gamma * xhat + beta, [x, gamma, beta])


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_add_norm_is_the_graph_of_its_parts(p: float) -> None:
    h, x, gamma, beta = leaves((2, 3, 7), (2, 3, 7), (7,), (7,))
    s = x + (F.dropout(h, p, KEY_FROM_5) if p else h)
    same_graphs(F.add_norm(h, x, gamma, beta, 1e-5, p, KEY_FROM_5), F.layer_norm(s, gamma, beta, 1e-5),
                [h, x, gamma, beta])


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_add_norm_with_a_bias_is_the_graph_of_its_parts(p: float) -> None:
    fx, weight, bias, x, gamma, beta = leaves((2, 3, 5), (7, 5), (7,), (2, 3, 7), (7,), (7,))
    h = F.linear(fx, weight, bias)
    s = x + (F.dropout(h, p, KEY_FROM_5) if p else h)
    composite = F.add_norm(F.linear(fx, weight), x, gamma, beta, 1e-5, p, KEY_FROM_5, bias)
    same_graphs(composite, F.layer_norm(s, gamma, beta, 1e-5), [fx, weight, bias, x, gamma, beta])


def test_cross_entropy_is_picking_from_log_softmax() -> None:
    (logits,) = leaves((4, 5))
    labels = np.array([1, 4, IGNORE_INDEX, 0])
    picked = F.log_softmax(logits)[np.array([0, 1, 3]), labels[labels >= 0]]
    same_graphs(F.cross_entropy(logits, labels), -picked.mean(), [logits])


def test_softmax_is_exp_over_sum() -> None:
    (x,) = leaves((3, 5))
    powers = F.exp(x - F.max(x, axis=-1, keepdims=True).detach())
    same_graphs(F.softmax(x), powers / powers.sum(axis=-1, keepdims=True), [x])


def test_embedding_is_indexing_and_one_hot_matmul() -> None:
    (table,) = leaves((7, 3))
    ids = np.array([[1, 4, 1], [1, 6, 0]])
    same_graphs(F.embedding(table, ids), table[ids], [table])
    table.grad = None
    same_graphs(F.embedding(table, ids), Tensor(np.eye(7)[ids]) @ table, [table])


def test_a_graph_of_every_elementwise_operation() -> None:
    """One long expression, checked through the graph."""
    x, y = leaves((3, 5), (5,))
    gradcheck(lambda: F.log(F.exp(x) + F.sigmoid(y)) / F.sqrt(y * y + 1.5) - F.gelu(x) * F.tanh(y) ** 3, x, y,
              ).assert_ok()
