"""Sinusoidal positions: the alternative to a learned table."""

from typing import Any

import numpy as np

from minibert.backend import Array


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
