"""From text to batches: corpora, sentences, WordPiece, sentence pairs, masks.

    documents = deduplicate(read_documents(["book.txt"], blank_lines="paragraph"))   # or python_documents()
    tokenizer = Tokenizer.train((s for d in documents for s in d.sentences), vocab_size=8000)
    for batch in PretrainingBatches.from_documents(documents, tokenizer, batch_size=32):
        ...
"""

from minibert.ops.loss import IGNORE_INDEX
from minibert.text.batches import PretrainingBatches, encode_documents, held_out_batches
from minibert.text.documents import Document, count_words, deduplicate, split_documents
from minibert.text.files import read_documents
from minibert.text.lint import CorpusReport
from minibert.text.masking import mask_tokens
from minibert.text.pairs import IS_NEXT, IS_RANDOM, Pair, make_pairs
from minibert.text.python_docs import python_documents
from minibert.text.sentences import split_sentences
from minibert.text.tokenizer import Tokenizer

# `lint` and `collate` are modules here as well as functions: import the functions from them.
__all__ = [
    "IGNORE_INDEX", "IS_NEXT", "IS_RANDOM", "CorpusReport", "Document", "Pair", "PretrainingBatches",
    "Tokenizer", "count_words", "deduplicate", "encode_documents", "held_out_batches", "make_pairs",
    "mask_tokens", "python_documents", "read_documents", "split_documents", "split_sentences",
]
