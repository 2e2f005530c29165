"""One slope for many values at once: each moves in a random direction, by a part of its own size."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.comparison import Comparison
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.checking.slope import root_mean_square, slope

Key = TypeVar("Key", bound=Hashable)


def compare_jointly(name: str, values: Mapping[Key, Array], gradients: Mapping[Key, Array],
                    terms: Callable[[dict[Key, Array]], Array], seed: int) -> Comparison:
    """The sum of <gradient, v> over all values, beside the slope of sum(terms(moved values)).

    A value without a gradient counts as one whose gradient is 0.
    """
    rng = np.random.default_rng(seed)
    vs = {key: random_like(rng, x.shape) * root_mean_square(x) for key, x in values.items()}
    products = [gradients[key] * v for key, v in vs.items() if key in gradients]
    measured = slope(lambda t: np.asarray(terms({key: np.asarray(x + (t * vs[key]).astype(x.dtype))
                                                 for key, x in values.items()})))
    return Comparison(name, "all at once" if len(vs) > 1 else "random 1", float(sum(p.sum() for p in products)),
                      measured, float(np.linalg.norm([np.linalg.norm(p) for p in products])))
