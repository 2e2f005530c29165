"""The layers that own parameters: an affine map, layer normalisation, a table of vectors; and activations."""

from minibert import functional as F
from minibert.backend import Array
from minibert.nn.initializer import Initializer
from minibert.nn.module import Module, Parameter
from minibert.tensor import Tensor

ACTIVATIONS = {"gelu": F.gelu, "gelu_new": F.gelu_tanh, "relu": F.relu, "tanh": F.tanh}  # Hugging Face's names


class Linear(Module):
    """y = x W^T + b: x (..., inputs) -> y (..., outputs), weight (outputs, inputs), bias (outputs,)."""

    def __init__(self, inputs: int, outputs: int, init: Initializer, bias: bool = True) -> None:
        self.weight = Parameter(init.normal(outputs, inputs))
        self.bias = Parameter(init.zeros(outputs), decay=False) if bias else None

    def forward(self, x: Tensor, add_bias: bool = True) -> Tensor:
        """Apply `minibert.ops.linear.linear`.  add_bias: False where the operation that follows adds it."""
        return F.linear(x, self.weight, self.bias if add_bias else None)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axis, then a learned gain `weight` and `bias`, both (hidden,)."""

    def __init__(self, hidden: int, init: Initializer, eps: float = 1e-12) -> None:
        self.weight = Parameter(init.ones(hidden), decay=False)
        self.bias = Parameter(init.zeros(hidden), decay=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Apply `minibert.ops.normalization.layer_norm`."""
        return F.layer_norm(x, self.weight, self.bias, self.eps)


class Embedding(Module):
    """A table of vectors, looked up by number: ids (...) -> (..., hidden), weight (rows, hidden)."""

    def __init__(self, rows: int, hidden: int, init: Initializer) -> None:
        self.weight = Parameter(init.normal(rows, hidden))

    def forward(self, ids: Array) -> Tensor:
        """Apply `minibert.ops.embedding.embedding`."""
        return F.embedding(self.weight, ids)


def activated(dense: Linear, activation: str, x: Tensor) -> Tensor:
    """activation(dense(x)), by one of the names in ACTIVATIONS; with BERT's own, GELU, it is one operation."""
    if activation == "gelu" and dense.bias is not None:
        return F.linear_gelu(x, dense.weight, dense.bias)
    return ACTIVATIONS[activation](dense(x))
