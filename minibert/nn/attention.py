"""Multi-head self-attention and the residual connection that every sub-layer ends in."""

from minibert import functional as F
from minibert.backend import Array
from minibert.errors import InputError
from minibert.nn.dropout import Dropout
from minibert.nn.initializer import Initializer
from minibert.nn.layers import LayerNorm, Linear
from minibert.nn.module import Module
from minibert.nn.positions import Positions
from minibert.ops.attention import attention_probs
from minibert.tensor import Tensor


class Residual(Module):
    """The end of a sub-layer: project, drop, add what came in; and the place of its layer normalisation.

        post-norm (BERT):  y = LayerNorm(x + dropout(dense(f(x))))             Vaswani et al. 2017, section 5.4
        pre-norm:          y = x + dropout(dense(f(LayerNorm(x))))             Xiong et al. 2020, figure 1
    """

    def __init__(self, inputs: int, hidden: int, dropout: float, pre_norm: bool, eps: float,
                 init: Initializer) -> None:
        self.dense = Linear(inputs, hidden, init)
        self.LayerNorm = LayerNorm(hidden, init, eps)
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm

    def enter(self, x: Tensor) -> Tensor:
        """What the sub-layer's own function f sees of x."""
        return self.LayerNorm(x) if self.pre_norm else x

    def forward(self, fx: Tensor, x: Tensor, only: Positions | None = None) -> Tensor:
        """f(x) (B, T, inputs) and x (B, T, hidden) -> y (B, T, hidden); both at the positions `only` where given."""
        norm, part = self.LayerNorm, only and only.of_states(x.shape[-1])
        if self.pre_norm:
            return x + self.dropout(self.dense(fx), part)
        h = self.dense(fx, add_bias=False)
        key = self.dropout.key(h.shape, part)
        return F.add_norm(h, x, norm.weight, norm.bias, norm.eps, self.dropout.p, key, self.dense.bias)


class SelfAttention(Module):
    """A attentions side by side, each on its own slice of width D = H / A of queries, keys and values.

    x (B, T, H) -> context (B, T, H).  Vaswani et al. 2017, section 3.2.2 (arXiv:1706.03762).
    """

    def __init__(self, hidden: int, heads: int, dropout: float, init: Initializer) -> None:
        if hidden % heads:
            raise InputError(f"hidden size {hidden} is not divisible by {heads} heads")
        self.query = Linear(hidden, hidden, init)
        self.key = Linear(hidden, hidden, init)
        self.value = Linear(hidden, hidden, init)
        self.dropout = Dropout(dropout)
        self.heads = heads

    def forward(self, x: Tensor, mask: Array | None = None, probs: list[Array] | None = None,
                only: Positions | None = None) -> Tensor:
        """mask broadcast to (B, A, T, T), True = may look; who looks at whom is appended to `probs` if given.

        only: the R positions that look; the context is (B, R, H) then.
        """
        B, T, _ = x.shape
        queries = only.pick(x) if only else x
        q = F.split_heads(self.query(queries), self.heads)                # (B, A, T, D)
        k = F.split_heads(self.key(x), self.heads)
        v = F.split_heads(self.value(x), self.heads)
        if probs is not None:
            probs.append(attention_probs(q.data, k.data, mask))
        key = self.dropout.key((B, self.heads, T, T), only and only.of_scores(self.heads))
        context = F.attention(q, k, v, mask, self.dropout.p, key)
        return F.merge_heads(context)                                     # (B, T, H)


class MultiHeadAttention(Module):
    """Self-attention followed by its projection and residual: x (B, T, H) -> y (B, T, H)."""

    def __init__(self, hidden: int, heads: int, attention_dropout: float, dropout: float, pre_norm: bool,
                 eps: float, init: Initializer) -> None:
        self.self = SelfAttention(hidden, heads, attention_dropout, init)
        self.output = Residual(hidden, hidden, dropout, pre_norm, eps, init)

    def forward(self, x: Tensor, mask: Array | None = None, probs: list[Array] | None = None,
                only: Positions | None = None) -> Tensor:
        """See `SelfAttention.forward` for mask, probs and only."""
        context = self.self(self.output.enter(x), mask, probs, only)
        return self.output(context, only.pick(x) if only else x, only)
