"""A small BERT with everything around it, to be examined: text, batches, a model, and the way it is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from random import Random
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.models import BertConfig, BertForPreTraining
from minibert.optim import AdamW
from minibert.tensor import Tensor
from minibert.text import Document, PretrainingBatches, Tokenizer

Batch = dict[str, Array]
NAMES = ("mira", "tomas", "lena", "ruben", "ada", "felix")
DOES = ("opens", "reads", "carries", "finds", "paints", "sells")
THINGS = ("the letter", "a lamp", "the old map", "a violin", "the red door", "a small clock", "the last ticket")
LENGTH = 23  # of an example, in tokens
ROWS = 9  # of a batch; odd, and no multiple of the number of parts it is cut into


@dataclass
class Patient:
    """A model in float64, not training, and what it was to learn.

    documents, tokenizer, batches: the text.  gradients(model, batch): how a batch's gradients are computed.
    """

    model: BertForPreTraining
    documents: Sequence[Document]
    tokenizer: Tokenizer
    batches: list[Batch]
    gradients: Callable[[Any, Batch], None]

    @classmethod
    def healthy(cls) -> "Patient":
        """The same one each time."""
        documents, tokenizer, batches = text()
        shape = BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
                           intermediate_size=20, max_position_embeddings=LENGTH + 4, hidden_dropout_prob=0.1,
                           attention_probs_dropout_prob=0.1)
        model = BertForPreTraining(shape, seed=1, dtype=np.float64).eval()
        rng = np.random.default_rng(1)
        for name, p in model.named_parameters():
            p.assign(0.25 * rng.standard_normal(p.shape) + name.endswith("LayerNorm.weight"))
        return cls(model, documents, tokenizer, [dict(batch) for batch in batches], backward)

    @property
    def batch(self) -> Batch:
        """The first of its batches."""
        return self.batches[0]

    def loss(self) -> Tensor:
        """The loss of that batch, with its graph: the sum of both tasks' losses."""
        loss: Tensor = self.model(**self.batch).loss
        return loss

    def train_step(self, batch: Batch, lr: float = 0.01) -> float:
        """The loss of a batch, and one step of AdamW after it."""
        if not hasattr(self, "_optimizer"):
            self._optimizer = AdamW(self.model.parameters(), lr=lr)
        loss: float = self.model(**batch).loss.item()
        self.gradients(self.model, batch)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss


def backward(model: Any, batch: Batch) -> None:
    """Add the gradient of the whole batch's loss to every parameter's `grad`."""
    model(**batch).loss.backward()


@cache
def text() -> tuple[list[Document], Tokenizer, list[Batch]]:
    """40 documents, in which a sentence goes on with the person of the one before; and batches made from them."""
    random = Random(3)
    documents = []
    for number in range(40):
        name = NAMES[number % len(NAMES)]
        things = random.sample(THINGS, 6)
        sentences = [f"{name} {random.choice(DOES)} {one} and {random.choice(DOES)} {other}"
                     for one, other in zip(things, islice(cycle(things), 1, None), strict=False)]
        documents.append(Document(f"story {number}", tuple(sentences)))
    tokenizer = Tokenizer.train((s for d in documents for s in d.sentences), 200)
    batches = PretrainingBatches.from_documents(documents, tokenizer, ROWS, LENGTH, seed=5, short_pairs=0.4)
    return documents, tokenizer, list(batches)
