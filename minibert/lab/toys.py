"""Models small enough to train while one waits, in float64, to see a backward at work."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibert import functional as F
from minibert.errors import InputError
from minibert.graph import Node, topological_order
from minibert.models import BertConfig, BertForPreTraining
from minibert.nn.module import Parameter
from minibert.ops.loss import IGNORE_INDEX
from minibert.tensor import Tensor

V, B, T, H = 11, 6, 7, 12  # words, examples, positions, width


@dataclass(frozen=True)
class Toy:
    """loss() runs a forward pass on the same batch each time."""

    name: str
    parameters: tuple[Parameter, ...]
    loss: Callable[[], Tensor]


def bert() -> Toy:
    """A BERT of one layer that learns six sentences by heart; its operations are the large ones."""
    rng = np.random.default_rng(5)
    model = BertForPreTraining(BertConfig(
        vocab_size=V, hidden_size=H, num_hidden_layers=1, num_attention_heads=3, intermediate_size=2 * H,
        max_position_embeddings=T), seed=3, dtype=np.float64).eval()
    ids = rng.integers(0, V, (B, T))
    labels = np.where(rng.random((B, T)) < 0.3, rng.integers(0, V, (B, T)), IGNORE_INDEX)
    labels[:, 1] = ids[:, 0]
    return Toy("a BERT of one layer", tuple(model.parameters()),
               lambda: model(ids, labels=labels, next_sentence_label=np.arange(B) % 2).loss)


def parts() -> Toy:
    """One layer of attention and a feed-forward part, from small operations, that learns to name the word before."""
    rng = np.random.default_rng(7)
    ids = rng.integers(0, V, (B, T))
    before = np.concatenate([np.full((B, 1), IGNORE_INDEX), ids[:, :-1]], axis=1)
    words, places, wq, wk, wv, w1, w2, out = (
        Parameter(0.4 * rng.standard_normal(shape))
        for shape in ((V, H), (T, H), (H, H), (H, H), (H, H), (2 * H, H), (H, 2 * H), (V, H)))
    gain, shift, b1, b2, bo = (Parameter(np.full(n, x)) for n, x in ((H, 1.0), (H, 0.0), (2 * H, 0.0), (H, 0.0),
                                                                      (V, 0.0)))

    def loss() -> Tensor:
        x = F.embedding(words, ids) + places
        q, k, v = (F.matmul(x, w) for w in (wq, wk, wv))
        context = F.matmul(F.softmax(F.matmul(q, k, tb=True) * H ** -0.5), v)
        x = F.layer_norm(x + context, gain, shift)
        x = x + F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)
        return F.cross_entropy(F.linear(F.tanh(x), out, bo), before)
    return Toy("one layer from small parts", (words, places, wq, wk, wv, w1, w2, out, gain, shift, b1, b2, bo), loss)


def toy_with(op: str) -> Toy:
    """The first toy whose graph has the operation.  Raises InputError when none has."""
    for make in (parts, bert):
        toy = make()
        node = toy.loss().node
        if node is not None and any(isinstance(x, Node) and x.op.name == op for x in topological_order(node)):
            return toy
    raise InputError(f"no toy model uses {op}: pass toy=, a function that returns a minibert.lab.toys.Toy")
