"""Every operation as a function of tensors, for models of your own.

Shapes, formulas and sources stand with the operation of the same name in `minibert.ops`. Arithmetic, `@`,
indexing, `sum` and `mean` are also methods of `Tensor`.
"""

from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.ops.dropout import DropoutKey
from minibert.ops.reduction import Axis
from minibert.tensor import Tensor, apply, lift

Number = int | float


def exp(x: Tensor) -> Tensor:
    """e^x."""
    return apply("exp", x)


def log(x: Tensor) -> Tensor:
    """Natural logarithm."""
    return apply("log", x)


def sqrt(x: Tensor) -> Tensor:
    """Square root; its gradient at 0 is defined as 0."""
    return apply("sqrt", x)


def maximum(x: Tensor, y: Tensor | Number) -> Tensor:
    """The larger of two, elementwise."""
    return apply("maximum", x, lift(y, x))


def where(condition: Array, x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """x where `condition`, else y; one of them may be a number."""
    return apply("where", condition, lift(x, y), lift(y, x))


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return apply("relu", x)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return apply("tanh", x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return apply("sigmoid", x)


def gelu(x: Tensor) -> Tensor:
    """x Phi(x), exact."""
    return apply("gelu", x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU's tanh approximation."""
    return apply("gelu_tanh", x)


def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest number over `axis`."""
    return apply("max", x, axis=axis, keepdims=keepdims)


def broadcast_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat x up to `shape`."""
    return apply("broadcast_to", x, shape)


def concatenate(xs: list[Tensor], axis: int = 0) -> Tensor:
    """Arrays one after the other along `axis`."""
    return apply("concatenate", *xs, axis=axis)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, H) -> (B, A, T, D)."""
    return apply("split_heads", x, heads)


def merge_heads(x: Tensor) -> Tensor:
    """(B, A, T, D) -> (B, T, H)."""
    return apply("merge_heads", x)


def embedding(table: Tensor, ids: Any) -> Tensor:
    """Rows of a table."""
    return apply("embedding", table, _integers(ids))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b."""
    return apply("linear", x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x W^T + b), the widening half of a feed-forward network."""
    return apply("linear_gelu", x, weight, bias)


def matmul(a: Tensor, b: Tensor, ta: bool = False, tb: bool = False) -> Tensor:
    """Matrix product over the last two axes, with either operand transposed first if asked."""
    return apply("matmul", a, b, ta, tb)


def softmax(x: Tensor) -> Tensor:
    """e^x / sum(e^x) over the last axis."""
    return apply("softmax", x)


def log_softmax(x: Tensor) -> Tensor:
    """ln softmax(x) over the last axis."""
    return apply("log_softmax", x)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-12) -> Tensor:
    """Mean 0 and variance 1 over the last axis, then scale and shift."""
    return apply("layer_norm", x, gamma, beta, eps)


def add_norm(h: Tensor, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-12, p: float = 0.0,
             key: DropoutKey | None = None, bias: Tensor | None = None) -> Tensor:
    """layer_norm(x + dropout(h + b)), the end of a sub-layer."""
    return apply("add_norm", h, x, gamma, beta, eps, p, key, bias)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Array | None = None, p: float = 0.0,
              key: DropoutKey | None = None) -> Tensor:
    """Scaled dot-product attention; `mask` is True where a query may look."""
    return apply("attention", q, k, v, mask, p, key)


def dropout(x: Tensor, p: float, key: DropoutKey) -> Tensor:
    """Zero each number with probability p, by `key`."""
    return apply("dropout", x, p, key)


def cross_entropy(logits: Tensor, labels: Any, count: int | None = None) -> Tensor:
    """Mean surprise over the labelled positions."""
    return apply("cross_entropy", logits, _integers(labels), count)


def _integers(values: Any) -> Any:
    """A list as an array; an array or a tensor as it is."""
    return np.asarray(values) if isinstance(values, list | tuple) else values
