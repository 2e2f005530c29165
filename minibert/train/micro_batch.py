"""How many sentence pairs a thread computes at a time, unless the user says."""

from contextlib import suppress
from pathlib import Path

from minibert.models.config import BertConfig

CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # where Linux tells the size of a core's own cache
USUAL_CACHE = 1 << 20  # bytes; most processors of the last years have 1 or 2 MiB
FEWEST_TOKENS = 512  # below, matrix products and Python's own work take longer per token than any cache saves
MOST_TOKENS = 1024  # above, nothing gets quicker, and memory grows


def choose_micro_batch(config: BertConfig, batch: int, length: int) -> int:
    """Pairs of `length` tokens for which the widest activations, 4 bytes a number, about fill a core's cache.

    At least two parts come out of a batch of two or more, so that two threads have work.
    """
    in_cache = cache_bytes() // (4 * config.intermediate_size)
    tokens = min(max(in_cache, FEWEST_TOKENS), MOST_TOKENS)
    return max(1, min(tokens // length, (batch + 1) // 2))


def cache_bytes() -> int:
    """The size of a core's second-level cache, where the system tells it."""
    with suppress(OSError, ValueError):
        text = CACHE.read_text(encoding="ascii").strip()
        return int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0)
    return USUAL_CACHE
