"""The calculus of BERT: pure array functions in pairs, one concept a file.

`y, saved = op(*inputs, **hyper)` and `gradients = op_backward(dy, *saved)`. Gradients come back in the order
of the differentiable inputs, with their dtypes. No state, no hidden randomness; arguments are never changed.

Every pair has an entry in `minibert.ops.registry.REGISTRY`.

Letters for dimensions, everywhere in this project:

    B batch        T query length (length of a text)    H hidden width              V vocabulary
    A heads        S key length                         D width of a head, H / A    L layers
    M masked or labelled positions                      F width of the feed-forward network

For a local `v` of a forward function its gradient is `dv`, of the same shape. Formulas are numbered (1), (2), ...
in the docstring and at the line that computes them; (1') is the backward of (1).
"""

from minibert.ops import (
    activation,
    add_norm,
    attention,
    dropout,
    elementwise,
    embedding,
    indexing,
    linear,
    linear_gelu,
    loss,
    normalization,
    reduction,
    shape,
    softmax,
)

__all__ = [
    "activation",
    "add_norm",
    "attention",
    "dropout",
    "elementwise",
    "embedding",
    "indexing",
    "linear",
    "linear_gelu",
    "loss",
    "normalization",
    "reduction",
    "shape",
    "softmax",
]
