"""The end of a training step on a GPU: the length of all gradients, and AdamW.  See minibert.optim for the formulas.

Everything that changes from step to step is read from the device, so nothing waits for the host, and a captured graph
can be launched for every step.
"""

import numpy as np

from minibert.backend import Array, array_module
from minibert.ops.cuda.launcher import THREADS, each_number, one_block

PARTIAL_SUMS = 1024  # blocks that sum up squares, and so the numbers left to add


def norm_and_clip(gradients: Array, longest: float, limit: Array, losses: Array, norm: Array, clip: Array,
                  halted: Array) -> None:
    """Write the length of `gradients`, and what makes them at most `longest`, to `norm` and `clip`.

    `halted` is set, and clip is -1, as soon as the length is above `limit`, or it or one of `losses` is not finite.
    gradients (n,) and losses (k,) float32, halted int32; the others are single float32 numbers on the device.
    """
    blocks = min(-(-gradients.size // THREADS), PARTIAL_SUMS)
    parts = array_module(gradients).empty(blocks, np.float32)
    each_number("square_sums", min(gradients.size, PARTIAL_SUMS * THREADS), gradients, parts, np.int64(gradients.size))
    one_block("norm_and_clip", parts, np.int32(blocks), np.float32(longest), limit, losses, np.int32(losses.size), norm,
              clip, halted)


def adamw(w: Array, g: Array, m: Array, v: Array, rates: Array, decayed: int, betas: tuple[float, float], eps: float,
          weight_decay: float) -> None:
    """Formulas (1) to (4) of AdamW on flat arrays, in place; weight decay for the first `decayed` numbers.

    rates (4,): learning rate, 1 - b1^t, 1 - b2^t (1 and 1 without bias correction), and what gradients are multiplied
    by; where that is below 0, nothing is changed.
    """
    each_number("adamw", w.size, w, g, m, v, rates, np.int64(w.size), np.int64(decayed), *map(np.float32, betas),
                np.float32(eps), np.float32(weight_decay))
