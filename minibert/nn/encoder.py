"""One encoder layer: attention, then a feed-forward network at every position."""

from minibert.backend import Array
from minibert.errors import InputError
from minibert.nn.attention import MultiHeadAttention, Residual
from minibert.nn.initializer import Initializer
from minibert.nn.layers import ACTIVATIONS, Linear, activated
from minibert.nn.module import Module
from minibert.nn.positions import Positions
from minibert.tensor import Tensor


class FeedForward(Module):
    """The widening half of the feed-forward network: y = activation(dense(x)), (B, T, H) -> (B, T, F).

    Vaswani et al. 2017, eq. 2; the narrowing half is the dense map of the `Residual` that follows.
    """

    def __init__(self, hidden: int, width: int, activation: str, init: Initializer) -> None:
        if activation not in ACTIVATIONS:
            raise InputError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.dense = Linear(hidden, width, init)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, F)."""
        return activated(self.dense, self.activation, x)


class EncoderLayer(Module):
    """Attention and feed-forward, each within its residual: x (B, T, H) -> y (B, T, H).

    Devlin et al. 2019, section 3; its parts have the names of Hugging Face's BertLayer.
    """

    def __init__(self, hidden: int, heads: int, width: int, activation: str, attention_dropout: float,
                 dropout: float, pre_norm: bool, eps: float, init: Initializer) -> None:
        self.attention = MultiHeadAttention(hidden, heads, attention_dropout, dropout, pre_norm, eps, init)
        self.intermediate = FeedForward(hidden, width, activation, init)
        self.output = Residual(width, hidden, dropout, pre_norm, eps, init)

    def forward(self, x: Tensor, mask: Array | None = None, probs: list[Array] | None = None,
                only: Positions | None = None) -> Tensor:
        """See `SelfAttention.forward` for mask, probs and only."""
        x = self.attention(x, mask, probs, only)
        return self.output(self.intermediate(self.output.enter(x)), x, only)
