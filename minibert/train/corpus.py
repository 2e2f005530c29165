"""The tokenised text of a run, kept in its folder, so that a resumed run reads exactly the same."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays, write_arrays

Documents = list[list[Array]]  # a document is a list of sentences, a sentence an array of ids
SIDES = ("train", "held_out")


class TokenisedCorpus(NamedTuple):
    """The ids of every sentence of every document, in two parts that share no document."""

    train: Documents
    held_out: Documents

    def save(self, path: Path) -> None:
        """Write both parts as flat arrays: ids, sentences' lengths, documents' numbers of sentences."""
        arrays = {}
        for side, documents in zip(SIDES, self, strict=True):
            sentences = [sentence for document in documents for sentence in document]
            arrays[f"{side}.ids"] = np.concatenate(sentences).astype(np.int32)
            arrays[f"{side}.lengths"] = np.array([len(s) for s in sentences], np.int32)
            arrays[f"{side}.sentences"] = np.array([len(d) for d in documents], np.int32)
        write_arrays(path, arrays, {"format": "minibert corpus"})

    @classmethod
    def load(cls, path: Path) -> "TokenisedCorpus":
        """Read what `save` wrote.  Raises InputError when it is missing, damaged or something else."""
        arrays, _ = read_arrays(path, "a run keeps its tokenised text there")
        try:
            return cls(*(_documents(arrays, side) for side in SIDES))
        except KeyError as error:
            raise InputError(f"{path} lacks {error}: it is not the tokenised text of a run") from error


def piece_counts(documents: Documents, vocab_size: int) -> Array:
    """How often each piece of the vocabulary occurs: (V,)."""
    return np.bincount(np.concatenate([s for document in documents for s in document]), minlength=vocab_size)


def _documents(arrays: dict[str, Array], side: str) -> Documents:
    ids = arrays[f"{side}.ids"].astype(np.int64)
    sentences = np.split(ids, np.cumsum(arrays[f"{side}.lengths"])[:-1])
    ends = np.cumsum(arrays[f"{side}.sentences"]).tolist()
    return [sentences[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
