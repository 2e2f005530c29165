"""Text to ids and back: BERT's WordPiece, on the `tokenizers` library."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import ArrayLike, NDArray

from minibert.errors import InputError
from minibert.text.tokenizer_files import bert_pipeline, read_tokenizer, write_tokenizer
from minibert.text.wordpiece import CONTINUATION, SPECIAL_TOKENS, train_vocabulary

# The library's threads gain a tenth here, and it prints a warning whenever a process that used them forks.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_UNUSED = re.compile(r"\[unused\d+\]")   # places that Google's vocabularies keep free
_DEFAULT_MAX_LENGTH = 512


class Tokenizer:
    """A WordPiece vocabulary and the rules to cut text by it.  It has no state: share it among threads.

    vocab_size: V.  pad_id, unk_id, cls_id, sep_id, mask_id: the special tokens' ids.
    special_ids: int64, ids that stand for no text.  ordinary_ids: int64, every other id in use; a masked
    token may be replaced by one of them.  continuation: bool (V,), the pieces that continue a word (`##`).
    """

    def __init__(self, backend: tokenizers.Tokenizer, name: str = "tokenizer") -> None:
        """Wrap a `tokenizers.Tokenizer`; `name` says in messages where it came from.

        Raises InputError if a special token of BERT is missing or an id stands for nothing.
        """
        self._marked = backend   # reads "[MASK]" in a text as the mask
        self._marked.no_truncation()
        self._marked.no_padding()
        ids = backend.get_vocab()
        _require_special_tokens(ids, name)
        self._marked.add_special_tokens(list(SPECIAL_TOKENS))
        self._plain = tokenizers.Tokenizer.from_str(backend.to_str())
        self._plain.encode_special_tokens = True   # "[MASK]" in a corpus is three ordinary pieces

        self.vocab_size: int = backend.get_vocab_size()
        self._pieces = _pieces_in_order(ids, name)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[token] for token in SPECIAL_TOKENS
        )
        added = backend.get_added_tokens_decoder()
        self.special_ids: NDArray[np.int64] = np.array(
            sorted(i for i, token in added.items() if token.special), dtype=np.int64
        )
        unused = [i for i, piece in enumerate(self._pieces) if _UNUSED.fullmatch(piece)]
        self.ordinary_ids: NDArray[np.int64] = np.setdiff1d(
            np.arange(self.vocab_size), np.concatenate([self.special_ids, unused])
        ).astype(np.int64)
        self.continuation: NDArray[np.bool_] = np.array(
            [piece.startswith(CONTINUATION) and piece != CONTINUATION for piece in self._pieces]
        )

    @classmethod
    def train(cls, sentences: Iterable[str], vocab_size: int, lowercase: bool = True) -> "Tokenizer":
        """Learn at most `vocab_size` pieces: the same ones, with the same ids, on every run.

        lowercase also takes accents off, as BERT's uncased models do.
        Raises InputError if there is too little text or `vocab_size` leaves no room for pieces.
        """
        vocabulary = train_vocabulary(list(sentences), vocab_size, lowercase)
        return cls(bert_pipeline(vocabulary, lowercase))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Tokenizer":
        """Read tokenizer.json, or else vocab.txt with `do_lower_case` from tokenizer_config.json.

        Raises InputError if neither is there, one is damaged, or a special token is missing.
        """
        backend, file = read_tokenizer(Path(folder))
        return cls(backend, str(file))

    def save(self, folder: str | os.PathLike[str], max_length: int = _DEFAULT_MAX_LENGTH) -> None:
        """Write vocab.txt, tokenizer.json and tokenizer_config.json, as Hugging Face's BERT has them.

        max_length: the longest sequence of the model.  The folder is made if needed; each file appears
        whole or not at all.
        """
        write_tokenizer(Path(folder), self._marked, self._pieces, max_length)

    def ids(self, sentences: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each sentence, without special tokens; a literal "[SEP]" is ordinary text here."""
        encodings = self._plain.encode_batch_fast(list(sentences), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def encode(
        self, text: str, pair: str | None = None, max_length: int | None = None
    ) -> dict[str, list[int]]:
        """[CLS] text [SEP], or [CLS] text [SEP] pair [SEP], as a model reads it.

        A literal "[MASK]" in a text is the mask token.  Returns input_ids, token_type_ids (0 for the text,
        1 for the pair) and attention_mask (all 1), each of the same length, at most `max_length`: the
        longer of the two is cut first, at its end.
        Raises InputError if `max_length` has no room for the special tokens.
        """
        first = self._marked.encode(text, add_special_tokens=False).ids
        second = [] if pair is None else self._marked.encode(pair, add_special_tokens=False).ids
        if max_length is not None:
            room = max_length - (2 if pair is None else 3)
            if room < 0:
                raise InputError(
                    f"max_length is {max_length}, but [CLS] and [SEP] need {max_length - room}: take more."
                )
            keep_first, keep_second = _shares(len(first), len(second), room)
            first, second = first[:keep_first], second[:keep_second]
        first = [self.cls_id, *first, self.sep_id]
        second = [] if pair is None else [*second, self.sep_id]
        return {
            "input_ids": first + second,
            "token_type_ids": [0] * len(first) + [1] * len(second),
            "attention_mask": [1] * (len(first) + len(second)),
        }

    def decode(self, ids: ArrayLike, skip_special: bool = False) -> str:
        """The text of a row of ids; `##` pieces are joined to their words."""
        numbers = [int(i) for i in np.asarray(ids).ravel()]
        return str(self._marked.decode(numbers, skip_special_tokens=skip_special))

    def token(self, id: int) -> str:
        """The piece of one id, with its `##`.  Raises IndexError for an id outside the vocabulary."""
        if not 0 <= id < self.vocab_size:
            raise IndexError(f"id {id} is outside the vocabulary of {self.vocab_size}")
        return self._pieces[id]


def _require_special_tokens(ids: Mapping[str, int], name: str) -> None:
    for token in SPECIAL_TOKENS:
        if token not in ids:
            raise InputError(
                f"{name}: the vocabulary has no {token}: BERT needs all of {' '.join(SPECIAL_TOKENS)}, so "
                "take a BERT tokenizer, or train one with Tokenizer.train."
            )


def _pieces_in_order(ids: Mapping[str, int], name: str) -> list[str]:
    """The vocabulary as a list, after a check that the ids are 0 to V - 1."""
    pieces = sorted(ids, key=ids.__getitem__)
    for expected, piece in enumerate(pieces):
        if ids[piece] != expected:
            raise InputError(
                f"{name}: the vocabulary is damaged, ids are missing or double at {expected}: fetch it anew."
            )
    return pieces


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts fit in `room` if the longer one is cut first, as Hugging Face does it."""
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
