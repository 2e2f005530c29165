"""What a step needs from the host, brought to the GPU in one copy that nobody waits for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert.backend import Array, cupy

ALIGNED = 256  # bytes: where an array may begin, as cudaMalloc has it


class Mailbox:
    """Arrays of fixed shapes on the GPU, filled anew for each step.

    The copy is made from pinned memory, in the stream that uses the arrays. A slot of pinned memory is written again
    `slots` fills later: by then its copy must be done, so the host has to wait for the stream once in so many fills.
    """

    def __init__(self, like: Mapping[str, Array], slots: int) -> None:
        """like: host arrays of the shapes and dtypes that will be sent, by name."""
        self.size = 0
        places = {}
        for name, array in like.items():
            places[name] = self.size
            self.size += -(-max(array.nbytes, 1) // ALIGNED) * ALIGNED
        xp = cupy()
        self._buffer = xp.empty(self.size, np.uint8)
        self.arrays: dict[str, Array] = _views(self._buffer, like, places)
        self._pinned = [xp.cuda.alloc_pinned_memory(self.size) for _ in range(slots)]
        self._slots = [_views(np.frombuffer(memory, np.uint8, self.size), like, places) for memory in self._pinned]
        self._turn = 0

    def fill(self, arrays: Mapping[str, Array], stream: Any) -> None:
        """Send these numbers; what comes after in the stream sees them."""
        slot = self._slots[self._turn]
        for name, array in arrays.items():
            slot[name][...] = array
        self._buffer.data.copy_from_host_async(self._pinned[self._turn].ptr, self.size, stream)
        self._turn = (self._turn + 1) % len(self._slots)


def _views(buffer: Array, like: Mapping[str, Array], places: Mapping[str, int]) -> dict[str, Array]:
    """The arrays that lie in a buffer of bytes."""
    return {name: buffer[place:place + like[name].nbytes].view(like[name].dtype).reshape(like[name].shape)
            for name, place in places.items()}
