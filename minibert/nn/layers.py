"""The layers that own parameters: an affine map, layer normalisation, a table of vectors."""

from minibert import functional as F
from minibert.backend import Array
from minibert.nn.initializer import Initializer
from minibert.nn.module import Module, Parameter
from minibert.tensor import Tensor


class Linear(Module):
    """y = x W^T + b: x (..., inputs) -> y (..., outputs), weight (outputs, inputs), bias (outputs,)."""

    def __init__(self, inputs: int, outputs: int, init: Initializer, bias: bool = True) -> None:
        self.weight = Parameter(init.normal(outputs, inputs))
        self.bias = Parameter(init.zeros(outputs), decay=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply `minibert.ops.linear.linear`."""
        return F.linear(x, self.weight, self.bias)


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
