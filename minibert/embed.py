"""Vectors for texts: the encoder over any number of texts, as fast as the cores allow, without a graph.

Texts of similar length share a batch, so little is padded; each thread computes whole batches, so all cores are
busy with everything and not only with matrix products. The batches depend on the texts alone: the vectors are the
same bits on any number of threads. A GPU is asked for one batch after the other, each large enough to keep it busy.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from operator import length_hint
from typing import Literal, NamedTuple, get_args

import numpy as np

from minibert.backend import Array, beside, device_of, room_on_gpu, to_host
from minibert.errors import InputError
from minibert.fill_mask import check_same_vocabulary, check_unicode
from minibert.graph import no_grad
from minibert.models.bert import BertModel, BertOutput
from minibert.models.inputs import warn
from minibert.models.pretraining import BertForPreTraining
from minibert.nn import Module, Positions
from minibert.text.tokenizer import Tokenizer
from minibert.train.lanes import single_threaded_blas
from minibert.train.pretrain import usable_threads

Pooling = Literal["mean", "cls", "pooler"]
WINDOW = 8192  # texts that are sorted by length together, and more than which are never held as tokens
BATCH_TOKENS = 1024  # matrix products are at full speed from a quarter of this on; more falls out of the caches
GPU_BATCH_TOKENS = 16384  # one batch is to keep all of a GPU busy
SHARES = 16  # few texts are cut into about so many batches, to keep several cores busy
SPECIAL = 2  # [CLS] before a text and [SEP] after it


class Done(NamedTuple):
    """A batch whose vectors have been computed."""

    texts: int
    tokens: int  # with [CLS] and [SEP], without padding
    padding: int  # places computed for nothing, because another text of the batch is longer
    cut: int  # texts of which the model could not read the end


def embed(model: BertModel | BertForPreTraining, tokenizer: Tokenizer, texts: Iterable[str], pooling: Pooling = "mean",
          threads: int | None = None, batch_tokens: int | None = None,
          watch: Callable[[Done], object] | None = None) -> Array:
    """One vector a text, in the order of `texts`: (N, H), in the model's dtype; dropout is off.

    pooling: "mean" of the last hidden states of all tokens, [CLS] and [SEP] among them; "cls", the state of [CLS];
    "pooler", the pooler's output.  texts: a list or an iterator, read piece by piece; "" is [CLS] [SEP], and a
    literal "[MASK]" is ordinary text.  threads: all cores unless given; any number gives the same bits.
    A model on a GPU computes there, and the vectors come back as an array of NumPy's.
    batch_tokens: the most tokens of a batch, padding among them, unless one text has more.
    A text longer than the model is cut at its end, [SEP] being kept; how many were is told to `watch`, which is
    called after every batch, or without one in a warning.
    Raises InputError for text that is no Unicode, an unknown pooling, a tokenizer of another vocabulary, or a full GPU.
    """
    bert = model.bert if isinstance(model, BertForPreTraining) else model
    threads = usable_threads() if threads is None else threads
    if batch_tokens is None:
        batch_tokens = GPU_BATCH_TOKENS if _on_gpu(bert) else BATCH_TOKENS
    _check(bert, tokenizer, texts, pooling, threads, batch_tokens)
    vectors = np.empty((length_hint(texts, 0), bert.config.hidden_size), bert.pooler.dense.weight.dtype)
    count = cut = 0
    with single_threaded_blas(), _dropout_off(bert), _pool(threads) as pool, room_on_gpu("lower batch_tokens"):
        for pieces in _tokenised(tokenizer, texts, pool):
            vectors = _with_room(vectors, count + len(pieces))
            for rows, found, done in _embed_window(bert, tokenizer, pieces, pooling, batch_tokens, pool):
                vectors[count + rows] = found
                cut += done.cut
                if watch is not None:
                    watch(done)
            count += len(pieces)
    if cut and watch is None:
        warn(f"{cut:,} of {count:,} texts have more than the {bert.config.max_position_embeddings:,} tokens that this "
             f"model reads, with [CLS] and [SEP]: their ends were cut off")
    vectors.resize((count, vectors.shape[1]), refcheck=False)
    return vectors


def cosines(query: Array, vectors: Array) -> Array:
    """Of the angle between `query` (H,) and each of `vectors` (N, H): (N,) between -1 and 1."""
    lengths = np.sqrt(np.einsum("nh,nh->n", vectors, vectors)) * np.sqrt(query @ query)
    return vectors @ query / np.maximum(lengths, np.finfo(lengths.dtype).tiny)


def _check(bert: BertModel, tokenizer: Tokenizer, texts: Iterable[str], pooling: str, threads: int,
           batch_tokens: int) -> None:
    """Raise InputError for what would be wrong with any text."""
    check_same_vocabulary(tokenizer, bert.config)
    if pooling not in get_args(Pooling):
        raise InputError(f"unknown pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")
    if isinstance(texts, str):
        raise InputError("texts must be a list of strings, and this is one string: write [text]")
    for name, value in (("threads", threads), ("batch_tokens", batch_tokens)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    if bert.config.max_position_embeddings < SPECIAL:
        raise InputError("this model reads a single token, and even an empty text has two, [CLS] and [SEP]")


def _tokenised(tokenizer: Tokenizer, texts: Iterable[str], pool: Executor) -> Iterator[list[Array]]:
    """The ids of each text, by windows: while one is embedded, a thread of the pool already cuts the next to pieces."""
    ahead: deque[Future[list[Array]]] = deque()
    for window in _windows(texts):
        ahead.append(pool.submit(tokenizer.ids, window))
        if len(ahead) > 1:
            yield ahead.popleft().result()
    yield from (future.result() for future in ahead)


def _windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Up to WINDOW texts at a time, checked."""
    count, rest = 0, iter(texts)
    while window := list(islice(rest, WINDOW)):
        for number, text in enumerate(window, count):
            check_unicode(text, f"texts[{number}]")
        count += len(window)
        yield window


def _embed_window(bert: BertModel, tokenizer: Tokenizer, pieces: list[Array], pooling: str, batch_tokens: int,
                  pool: Executor) -> Iterator[tuple[Array, Array, Done]]:
    """For each batch of a window: which of its texts (B,), their vectors (B, H), and what that took."""
    longest = bert.config.max_position_embeddings
    wanted = np.array([len(ids) for ids in pieces]) + SPECIAL
    lengths = np.minimum(wanted, longest)
    alone = _on_gpu(bert)  # one thread keeps it busy, and that is this one
    parts = list(cut_by_length(lengths, batch_tokens, 1 if alone else SHARES))

    def run(rows: Array) -> Array:
        return _vectors(bert, _batch([pieces[row] for row in rows], lengths[rows], tokenizer), lengths[rows], pooling)

    for rows, found in zip(parts, map(run, parts) if alone else pool.map(run, parts), strict=True):
        tokens = int(lengths[rows].sum())
        yield rows, to_host(found), Done(len(rows), tokens, len(rows) * int(lengths[rows[0]]) - tokens,
                                         int((wanted[rows] > longest).sum()))


def _on_gpu(bert: BertModel) -> bool:
    return device_of(bert.pooler.dense.weight.data) == "cuda"


def cut_by_length(lengths: Array, batch_tokens: int, shares: int = SHARES) -> Iterator[Array]:
    """The texts of these lengths (N,) in batches of similar ones, the longest first, as arrays of row numbers.

    Batch size x longest text is at most `batch_tokens`, unless a single text is longer, and less where the texts
    are few, so that there are about `shares` batches, some for every thread. That number must not depend on how many
    threads there are.
    """
    fair = max(int(lengths.sum()) // shares, BATCH_TOKENS // 4)
    limit = min(batch_tokens, fair)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(limit // int(lengths[order[start]]), 1)
        yield order[start:start + size]
        start += size


def _batch(pieces: list[Array], lengths: Array, tokenizer: Tokenizer) -> Array:
    """[CLS] text [SEP] and padding in each row: (B, T).  A text with no room in its length is cut at its end."""
    batch = np.full((len(pieces), lengths.max()), tokenizer.pad_id)
    for row, ids, length in zip(batch, pieces, lengths, strict=True):
        row[0] = tokenizer.cls_id
        row[1:length - 1] = ids[:length - SPECIAL]
        row[length - 1] = tokenizer.sep_id
    return batch


def _vectors(bert: BertModel, batch: Array, lengths: Array, pooling: str) -> Array:
    """One forward pass without a graph: batch (B, T) -> (B, H)."""
    T = batch.shape[1]
    text = np.arange(T) < lengths[:, None]                                # (B, T)
    with no_grad():  # of this thread
        first = None if pooling == "mean" else Positions(np.zeros((len(batch), 1), np.int64), T)  # [CLS] alone is read
        output: BertOutput = bert(batch, attention_mask=None if text.all() else text, only=first)
    if pooling == "pooler":
        return output.pooler_output.data
    states = output.last_hidden_state.data                                # (B, T, H)
    if pooling == "cls":
        return states[:, 0].copy()  # a view would keep the states of every token
    weights = beside((text / lengths[:, None]).astype(states.dtype), states)
    return (weights[:, None] @ states)[:, 0]


def _with_room(vectors: Array, rows: int) -> Array:
    """`vectors` with at least this many rows, half as many again where the number of texts was not known."""
    if rows <= len(vectors):
        return vectors
    # in place, which for large arrays copies nothing; nobody else has seen the array yet
    vectors.resize((max(rows, len(vectors) * 3 // 2), vectors.shape[1]), refcheck=False)
    return vectors


@contextmanager
def _pool(threads: int) -> Iterator[Executor]:
    """Threads that end with the block; what they have not begun by then is dropped, as after Ctrl-C."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _dropout_off(model: Module) -> Iterator[None]:
    """Inside this block no module is in training; afterwards each is what it was."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
