"""Positions in a text: which of them are computed, and sinusoidal vectors, the alternative to a learned table."""

from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.dropout import Part
from minibert.tensor import Tensor


class Positions(NamedTuple):
    """R of the T positions of each of B examples: at (B, R), in which a position may come twice.

    The last layer is read at few positions in pretraining, and what nobody reads need not be computed: each
    position has its own query, feed-forward and normalisation, and meets the others only in keys and values.
    """

    at: Array
    length: int  # T

    def pick(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, R, H)."""
        return x[self._examples(), self.at]

    def of_states(self, hidden: int) -> Part:
        """These positions of an array (B, T, H)."""
        return Part((len(self.at), self.length, hidden), (self._examples(), self.at))

    def of_scores(self, heads: int) -> Part:
        """The rows of these positions in an array (B, A, T, T)."""
        index = self._examples()[:, None], array_module(self.at).arange(heads)[:, None], self.at[:, None]
        return Part((len(self.at), heads, self.length, self.length), index)

    def _examples(self) -> Array:
        return array_module(self.at).arange(len(self.at))[:, None]  # (B, 1)


def sinusoidal_positions(length: int, hidden: int, dtype: Any = np.float32, longest: float = 10000.0) -> Array:
    """A vector for each position, whose waves have wavelengths from 2 pi to `longest` * 2 pi.

        (1)  P[t, 2i]     = sin(t / longest^(2i / H))
        (2)  P[t, 2i + 1] = cos(t / longest^(2i / H))

    ->  P (length, hidden).  Vaswani et al. 2017, section 3.5 (arXiv:1706.03762).
    """
    t = np.arange(length)[:, None]
    waves = t / longest ** (np.arange(0, hidden, 2) / hidden)             # (length, ceil(H / 2))
    P = np.empty((length, hidden))
    P[:, 0::2] = np.sin(waves)                                            # (1)
    P[:, 1::2] = np.cos(waves[:, : hidden // 2])                          # (2)
    return P.astype(dtype)
