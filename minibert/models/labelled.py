"""Which positions of a batch carry labels, and where they stand among the positions that are computed."""

from typing import NamedTuple, Self

import numpy as np

from minibert.backend import Array, to_device
from minibert.errors import InputError
from minibert.nn.positions import Positions
from minibert.ops.loss import IGNORE_INDEX


class Labelled(NamedTuple):
    """The M labels of a batch, row by row, and where the loss finds what it compares them with.

    labels (M,); rows: of each label its example and its place along the second axis of last_hidden_state, (M,) each;
    only: the positions at which the last layer is computed, the first of each example [CLS]; None for all of them.
    """

    labels: Array
    rows: tuple[Array, Array]
    only: Positions | None

    @classmethod
    def everywhere(cls, labels: Array) -> Self:
        """labels (B, T) with IGNORE_INDEX where there is none, of a batch whose every position is computed."""
        rows = (labels != IGNORE_INDEX).nonzero()
        return cls(labels[rows], rows, None)

    @classmethod
    def alone(cls, labels: Array, places: int | None = None, count: int | None = None) -> Self:
        """labels (B, T) of a batch whose last layer is computed at [CLS] and the labelled positions only.

        An example with fewer labels than another has [CLS] again at the end, where nobody reads it.
        places, count: make room for so many labels an example and in all, so that every batch has the same shapes;
        what is left over is filled with IGNORE_INDEX.  Raises InputError when there are more.
        """
        labelled = labels != IGNORE_INDEX
        examples, positions = labelled.nonzero()
        columns = labelled.cumsum(axis=1)[examples, positions]  # 1, 2, ...: column 0 is [CLS]
        most = int(labelled.sum(axis=1).max())
        if most > (places or most) or len(examples) > (count or len(examples)):
            raise InputError(f"a batch has {len(examples)} labels, {most} of them in one example: there is room for "
                             f"{count} and {places}")
        at = np.zeros((len(labels), 1 + (places or most)), np.int64)
        at[examples, columns] = positions
        spare = np.zeros((count or len(examples)) - len(examples), np.int64)
        rows = np.concatenate([examples, spare]), np.concatenate([columns, spare])
        words = np.concatenate([labels[examples, positions], spare + IGNORE_INDEX])
        return cls(words, rows, Positions(at, labels.shape[1]))

    def to(self, device: str) -> Self:
        """The same on "cpu" or "cuda"."""
        only = self.only and Positions(to_device(self.only.at, device), self.only.length)
        rows = to_device(self.rows[0], device), to_device(self.rows[1], device)
        return type(self)(to_device(self.labels, device), rows, only)
