"""What the tests of text share: the real corpus, once, and a tokenizer trained on a part of it."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from minibert.text.documents import Document, deduplicate
from minibert.text.python_docs import python_documents
from minibert.text.tokenizer import Tokenizer

DocumentsIds = list[list[NDArray[np.int64]]]


@pytest.fixture(scope="session")
def raw_corpus() -> list[Document]:
    """Python's documentation without NumPy's, repeated sentences and all."""
    return python_documents(include_numpy=False)


@pytest.fixture(scope="session")
def corpus(raw_corpus: list[Document]) -> list[Document]:
    return deduplicate(raw_corpus)


@pytest.fixture(scope="session")
def tokenizer(corpus: list[Document]) -> Tokenizer:
    """2,000 pieces, from every fourth document."""
    return Tokenizer.train([s for d in corpus[::4] for s in d.sentences], vocab_size=2000)


@pytest.fixture
def numbered() -> Callable[..., DocumentsIds]:
    """Documents of sentences in which every token names its place: 1000 * document + sentence."""

    def build(sentences: list[int], length: int = 8) -> DocumentsIds:
        return [
            [np.full(length, 1000 * document + sentence, dtype=np.int64) for sentence in range(count)]
            for document, count in enumerate(sentences, start=1)
        ]

    return build
