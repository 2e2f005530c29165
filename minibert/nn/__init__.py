"""Layers: they own parameters and call operations forward; the graph takes care of backward."""

from minibert.nn.attention import MultiHeadAttention, Residual, SelfAttention
from minibert.nn.dropout import Dropout, DropoutStream, seed_dropout, stream_of
from minibert.nn.encoder import EncoderLayer, FeedForward
from minibert.nn.initializer import Initializer
from minibert.nn.layers import Embedding, LayerNorm, Linear
from minibert.nn.module import Module, ModuleList, Parameter
from minibert.nn.positions import Positions, sinusoidal_positions
from minibert.nn.recompute import recompute

__all__ = [
    "Dropout",
    "DropoutStream",
    "Embedding",
    "EncoderLayer",
    "FeedForward",
    "Initializer",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "Positions",
    "Residual",
    "SelfAttention",
    "recompute",
    "seed_dropout",
    "sinusoidal_positions",
    "stream_of",
]
