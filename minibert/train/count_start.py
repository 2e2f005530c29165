"""A start from counts: what can be known of a text before the first gradient.

A BERT that starts from random numbers spends its first thousands of steps at the loss of single words, until
it has found out which words are alike and that neighbours matter. Counting tells both in seconds:

1. word vectors: words that keep the same company get similar vectors;
2. the output bias: how frequent each piece is;
3. positions and heads: positions start as waves, and each head as a look at one fixed distance;
4. the output transform: the identity, plus noise, so that the first guess is a word like those looked at.

Only the initial numbers differ; architecture and training are BERT's, and every number is trained on.
"""

import math

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError
from minibert.models.pretraining import BertForPreTraining
from minibert.nn import Linear, MultiHeadAttention, SelfAttention
from minibert.nn.positions import sinusoidal_positions
from minibert.train.corpus import Documents, piece_counts
from minibert.train.lanes import single_threaded_blas

WINDOW = 5  # words this near count as company
SMOOTHING = 0.75  # of the frequency of the company; Levy, Goldberg and Dagan 2015, section 3.2
FIRST_SCORE = 5.0  # of a head's own distance; e^5 = 148 times the weight of a token that scores 0
LONGEST_WAVE = 100.0  # in units of 2 pi: sentence pairs are shorter than the texts of Vaswani et al.
LARGEST_VOCABULARY = 16384  # the table of counts has the square of it


def start_from_counts(model: BertForPreTraining, documents: Documents, seed: int) -> None:
    """Replace a new model's random word vectors, output bias, positions and queries by what counts tell.

    Raises InputError when the vocabulary is too large to be counted in pairs.
    """
    c = model.config
    check_countable(c.vocab_size)
    generator = np.random.default_rng([seed, 1])
    with single_threaded_blas():  # so that the bits do not depend on the number of threads
        counts = company_counts(documents, c.vocab_size)
        vectors = word_vectors(counts, c.hidden_size, generator)
    scale = c.hidden_size**-0.5  # so that a map keeps the length of what it maps, and a word vector has length 1
    model.bert.embeddings.word_embeddings.weight.assign(scale * vectors)
    frequency = piece_counts(documents, c.vocab_size) + 0.5
    model.cls.predictions.bias.assign(np.log(frequency / frequency.sum()))
    transform = model.cls.predictions.transform.dense.weight
    transform.assign(np.eye(c.hidden_size) + 0.5 * scale / transform.data.std() * transform.data)
    for module in model.modules():  # what attention fetches must arrive: these maps keep its length
        if isinstance(module, MultiHeadAttention):
            _set_deviation(module.self.value, scale)
            _set_deviation(module.output.dense, scale)
    _set_deviation(model.bert.pooler.dense, scale)
    if model.bert.embeddings.position_embeddings is None:
        return
    waves = sinusoidal_positions(c.max_position_embeddings, c.hidden_size, longest=LONGEST_WAVE)
    model.bert.embeddings.position_embeddings.weight.assign(scale * math.sqrt(2.0) * waves)
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            look_at_neighbours(module.self, FIRST_SCORE)


def check_countable(vocab_size: int) -> None:
    """Raises InputError when the vocabulary is too large to be counted in pairs."""
    if vocab_size > LARGEST_VOCABULARY:
        raise InputError(f"--start counts needs a table of {vocab_size} x {vocab_size} counts, and "
                         f"{LARGEST_VOCABULARY} is the most: choose --start random or a smaller --vocab-size")


def _set_deviation(layer: Linear, std: float) -> None:
    layer.weight.assign(layer.weight.data * (std / layer.weight.data.std()))


def company_counts(documents: Documents, vocab_size: int) -> Array:
    """How often two pieces stand near each other, a pair at distance k counting 1/k  ->  C (V, V), symmetric."""
    gap = np.full(WINDOW, -1)  # no company across documents
    text = np.concatenate([part for document in documents for part in (*document, gap)])
    keys, weights = [], []
    for distance in range(1, WINDOW + 1):
        left, right = text[:-distance], text[distance:]
        inside = (left >= 0) & (right >= 0)
        keys.append(left[inside] * vocab_size + right[inside])
        weights.append(np.full(int(inside.sum()), 1.0 / distance))
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    C = np.zeros((vocab_size, vocab_size), np.float32)
    C.reshape(-1)[pairs] = np.bincount(which, np.concatenate(weights))
    return C + C.T


def word_vectors(C: Array, width: int, generator: np.random.Generator) -> Array:
    """Vectors whose products follow how much more often than by chance two words meet.

        (1)  P_ab = max(0, ln(C_ab / (C_a q_b))),  q_b = C_b^0.75 / sum(C^0.75)
        (2)  P ~ U diag(s) U^T, the `width` largest |s|
        (3)  E = U |s|^(1/2), turned at random, each row scaled to mean square 1

    C (V, V) -> E (V, width).  Levy, Goldberg and Dagan 2015, sections 2 and 3 (TACL 3); the decomposition by
    repeated multiplication with a random matrix: Halko et al. 2011, algorithm 4.4 (arXiv:0909.4061).
    """
    total = C.sum(axis=1)
    chance = total**SMOOTHING / (total**SMOOTHING).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        P = np.log(C / (total[:, None] * chance))
    P = np.nan_to_num(np.maximum(P, 0.0), copy=False)                     # (1)
    P = 0.5 * (P + P.T)
    V = len(C)
    rank = min(width, V)
    Q = generator.standard_normal((V, min(rank + 32, V))).astype(np.float32)
    for _ in range(5):
        Q = np.linalg.qr(P @ Q)[0]
    s, inner = np.linalg.eigh(Q.T @ P @ Q)
    largest = np.argsort(-np.abs(s))[:rank]                               # (2)
    E = (Q @ inner[:, largest]) * np.sqrt(np.abs(s[largest]))
    turn = np.linalg.qr(generator.standard_normal((width, width)))[0]
    E = E @ turn[:rank]
    length = np.sqrt((E * E).mean(axis=1, keepdims=True))
    never_met = length < 1e-6
    return np.where(never_met, generator.standard_normal(E.shape), E / np.where(never_met, 1.0, length))  # (3)


def look_at_neighbours(attention: SelfAttention, first_score: float) -> None:
    """Make head h prefer the token at distance -1, +1, -2, +2, ... from its own, by about `first_score`.

    A rotation R_n of each pair of sine and cosine turns the wave of position t into that of t + n. With keys W_k
    and queries W_q = W_k R_n, what position t asks for is what position t + n offers. Half of the square of a
    normalised input is position, so that match scores sqrt(D) H std^2 / 2 for keys of deviation std. A token's own
    word matches, too, because the rotation turns its vector only in part.
    """
    H = attention.key.weight.shape[0]
    D = H // attention.heads
    frequencies = LONGEST_WAVE ** (-np.arange(0, H - 1, 2) / H)
    keys = attention.key.weight.data
    keys = keys / keys.std() * math.sqrt(2.0 * first_score / (H * math.sqrt(D)))
    queries = keys.copy()
    for head in range(attention.heads):
        n = (head // 2 + 1) * (-1 if head % 2 == 0 else 1)
        c, s = np.cos(n * frequencies), np.sin(n * frequencies)
        rows = slice(head * D, (head + 1) * D)
        sine, cosine = keys[rows, 0:H - 1:2], keys[rows, 1::2]
        queries[rows, 0:H - 1:2] = sine * c - cosine * s
        queries[rows, 1::2] = sine * s + cosine * c
    attention.key.weight.assign(keys)
    attention.query.weight.assign(queries)
