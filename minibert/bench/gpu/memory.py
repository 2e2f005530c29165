"""Memory of a GPU for one piece of work, of which it is known how much it was, and which is given back."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minibert.backend import cupy
from minibert.ops.cuda.blas import blas


@contextmanager
def own_memory() -> Iterator[Any]:
    """Inside this block arrays on the GPU come from a new pool, which is given; then its memory is free again.

    So what is measured next meets no memory that is kept for reuse.
    """
    xp = cupy()
    blas()  # its workspace, which stays, is in no pool of ours
    pool = xp.cuda.MemoryPool()
    try:
        with xp.cuda.using_allocator(pool.malloc):
            yield pool
    finally:
        gc.collect()  # a model and its graph are full of cycles
        pool.free_all_blocks()
        xp.get_default_memory_pool().free_all_blocks()
