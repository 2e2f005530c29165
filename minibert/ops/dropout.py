"""Dropout as a pure function: which numbers are dropped follows from a key, not from a hidden generator.

The key is (seed, step, site) and the place of the number: the same numbers are dropped in every replay of a
step, and however its batch is cut into micro-batches.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, beside
from minibert.errors import InputError
from minibert.ops.registry import Op, register

WORDS_A_BLOCK = 4  # 64-bit words that Philox yields for one value of its counter
NUMBERS_A_BLOCK = 4 * WORDS_A_BLOCK  # 16-bit random numbers in them
LEVELS = 1 << 16


class Part(NamedTuple):
    """array[index] of an array of some shape, where the rest is not computed."""

    shape: tuple[int, ...]
    index: Any


class DropoutKey(NamedTuple):
    """Everything that decides which numbers are dropped."""

    seed: int
    step: Any  # of training: a number; for CUDA twins, also one on the GPU
    site: int  # which dropout of the model
    start: int = 0  # the place, in the whole batch's array, of the first number here
    part: "Part | None" = None  # when only a part of that array is computed


def keep_part(shape: tuple[int, ...], p: float, key: DropoutKey) -> Array:
    """`keep_mask` of an array of `shape`, or of the part of another array that the key names."""
    if key.part is None:
        return keep_mask(shape, p, key)
    whole, index = keep_mask(key.part.shape, p, key), key.part.index
    return whole[tuple(beside(places, whole) for places in index) if isinstance(index, tuple) else beside(index, whole)]


def keep_mask(shape: tuple[int, ...], p: float, key: DropoutKey) -> Array:
    """Boolean array, False with probability p (to the nearest 1/65536): the numbers that survive.

    Element i compares 16-bit word `key.start + i` of the Philox4x64-10 stream with key (seed, site) and
    counter (block, step, 0, 0) against p.  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    size = int(np.prod(shape))
    block, skip = divmod(key.start, NUMBERS_A_BLOCK)
    stream = np.random.Philox(key=np.array([key.seed, key.site], np.uint64),
                              counter=np.array([block, key.step, 0, 0], np.uint64))
    words = stream.random_raw((skip + size + 3) // 4)
    numbers = words.astype("<u8", copy=False).view(np.uint16)[skip:skip + size]
    return (numbers >= round(p * LEVELS)).reshape(shape)


def draw(x: Array, p: float, key: DropoutKey | None) -> tuple[Array | None, float]:
    """Which numbers of x survive, and what they are multiplied by; (None, 1) where nothing is to be dropped."""
    if p == 0.0 or key is None:
        return None, 1.0
    return beside(keep_part(x.shape, p, key), x), survivor_scale(p)


def dropout(x: Array, p: float, key: DropoutKey) -> tuple[Array, tuple]:
    """Zero each number with probability p, and scale the others so that the mean stays.

        (1)  y = x keep / (1 - p)

    x (...)  ->  y (...).  p is rounded to the nearest 1/65536.  Srivastava et al. 2014.
    """
    keep, scale = draw(x, p, key)
    return dropped(x, keep, scale), (keep, scale)         # (1)


def dropout_backward(dy: Array, keep: Array, scale: float) -> tuple[Array]:
    """(1')  dx = dy keep / (1 - p): the numbers that were dropped had no part in y."""
    return (dropped(dy, keep, scale),)                    # (1')


def dropped(x: Array, keep: Array | None, scale: float) -> Array:
    """x keep scale: forward and backward of dropout alike, with a mask that was drawn before; x itself without one."""
    if keep is None:
        return x
    y = x * keep
    y *= scale
    return y


def survivor_scale(p: float) -> float:
    """1 / (1 - p) for the p that `keep_mask` really uses.  Raises InputError when nothing would survive."""
    dropped = round(p * LEVELS)
    if not 0 <= dropped < LEVELS:
        raise InputError(f"a dropout probability must be at least 0 and below {1 - 1 / LEVELS:.5f}, not {p}")
    return LEVELS / (LEVELS - dropped)


def dropout_reference(x: Array, p: float, key: DropoutKey) -> Array:
    y = np.zeros(x.size)
    for i, (value, kept) in enumerate(zip(x.ravel(), keep_part(x.shape, p, key).ravel(), strict=True)):
        y[i] = value / (1 - round(p * 65536) / 65536) if kept else 0.0
    return y.reshape(x.shape)


SURVIVORS = {"keep": "r", "scale": r"\frac{1}{1 - p}",
             "r": r"\text{1 for the numbers that dropout keeps, 0 for the others}"}
register(Op(dropout, dropout_backward, ("x",), r"y = \frac{r\,x}{1 - p},\; r \sim \mathrm{Bernoulli}(1 - p)",
            r"dx = \frac{r\,dy}{1 - p}", "x (...) -> y (...)", dropout_reference,
            "Srivastava et al. 2014, section 4", notation=SURVIVORS))
