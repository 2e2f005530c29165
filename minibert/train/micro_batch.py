"""How many sentence pairs a thread computes at a time, unless the user says."""

from contextlib import suppress
from pathlib import Path

from minibert.models.config import BertConfig

CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # where Linux tells the size of a core's own cache
USUAL_CACHE = 1 << 20  # bytes; most processors of the last years have 1 or 2 MiB
CACHE_FILLS = 2  # of the widest activation: measured; the next cache is not much slower
FEWEST_TOKENS = 512  # below, matrix products and Python's own work take longer per token than any cache saves
MOST_TOKENS = 1024  # above, nothing gets quicker, and memory grows


def choose_micro_batch(config: BertConfig, batch: int, length: int) -> int:
    """How many of `batch` pairs of `length` tokens make the widest activation a few times a core's cache.

    It aims at an even number of parts, so that two threads have equal work; rounding may leave it odd.
    """
    in_cache = CACHE_FILLS * cache_bytes() // (4 * config.intermediate_size)  # 4 bytes a number
    tokens = min(max(in_cache, FEWEST_TOKENS), MOST_TOKENS)
    pairs_of_parts = -(-batch // (2 * max(1, tokens // length)))
    return -(-batch // (2 * pairs_of_parts))


def cache_bytes() -> int:
    """The size of a core's second-level cache, where the system tells it."""
    with suppress(OSError, ValueError):
        text = CACHE.read_text(encoding="ascii").strip()
        return int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0)
    return USUAL_CACHE
