"""The calculus of BERT: pure array functions in pairs, one concept a file.

`y, saved = op(*inputs, **hyper)` and `gradients = op_backward(dy, *saved)`. Gradients come back in the order
of the differentiable inputs, with their dtypes. No state, no hidden randomness; arguments are never changed.

Every pair has an entry in `minibert.ops.registry.REGISTRY`.
"""

from minibert.ops import (
    activation,
    attention,
    dropout,
    elementwise,
    embedding,
    indexing,
    linear,
    loss,
    normalization,
    reduction,
    shape,
    softmax,
)

__all__ = [
    "activation",
    "attention",
    "dropout",
    "elementwise",
    "embedding",
    "indexing",
    "linear",
    "loss",
    "normalization",
    "reduction",
    "shape",
    "softmax",
]
