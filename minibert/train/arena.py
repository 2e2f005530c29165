"""All parameters of a model in one array on the GPU, and likewise their gradients and both of AdamW's moments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.backend import Array, array_module
from minibert.nn.module import Parameter
from minibert.optim import AdamW

ALIGNED = 64  # float32 numbers: where a parameter may begin, so that products read it in whole pieces of memory


class Arena:
    """One array each for weights, gradients and moments: their length is one sum, and an update is one kernel.

    The parameters and the optimiser's moments become views of it. The parameters that decay come first, `decayed`
    numbers of them. The gaps between parameters are 0, and stay so.
    """

    def __init__(self, optimizer: AdamW) -> None:
        parameters = optimizer.parameters
        order = sorted(range(len(parameters)), key=lambda i: not parameters[i].decay)
        places, self.decayed, end = {}, 0, 0
        for i in order:
            places[i] = end
            end += -(-parameters[i].size // ALIGNED) * ALIGNED
            self.decayed = end if parameters[i].decay else self.decayed
        xp = array_module(parameters[0].data)
        self.w, self.g, self.m, self.v = (xp.zeros(end, np.float32) for _ in range(4))
        self.gradients: dict[Parameter, Array] = {}
        for i, p in enumerate(parameters):
            def view(arena: Array, place: int = places[i], p: Parameter = p) -> Array:
                return arena[place:place + p.size].reshape(p.shape)

            p.data = _moved(p.data, view(self.w))
            optimizer.m[i], optimizer.v[i] = _moved(optimizer.m[i], view(self.m)), _moved(optimizer.v[i], view(self.v))
            self.gradients[p] = view(self.g)

    def collector(self, add: bool) -> Callable[[Any, Array, bool], None]:
        """What `Tensor.backward` hands gradients to: each is written to its place, or added to what is there."""
        def collect(p: Any, gradient: Array, free: bool) -> None:
            if add:
                self.gradients[p] += gradient
            else:
                self.gradients[p][...] = gradient

        return collect


def _moved(array: Array, place: Array) -> Array:
    """`place`, with the numbers of the array."""
    place[...] = array
    return place
