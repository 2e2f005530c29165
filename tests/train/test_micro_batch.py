"""How much is computed at a time, when the user does not say."""

import itertools
from pathlib import Path

import pytest

from minibert.models import BertConfig
from minibert.train import micro_batch
from minibert.train.micro_batch import FEWEST_TOKENS, MOST_TOKENS, cache_bytes, choose_micro_batch


@pytest.mark.parametrize(("text", "size"), [
    ("1024K\n", 1 << 20), ("2M", 2 << 20), ("512", 512), ("", 1 << 20), ("much", 1 << 20), (None, 1 << 20)])
def test_the_cache_is_read_from_the_system_or_taken_as_usual(text: str | None, size: int, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "size"
    if text is not None:
        path.write_text(text, encoding="ascii")
    monkeypatch.setattr(micro_batch, "CACHE", path)
    assert cache_bytes() == size


@pytest.mark.parametrize("preset", ["tiny", "mini", "small", "base"])
@pytest.mark.parametrize("cache", [1 << 10, 1 << 20, 1 << 30])
def test_a_part_is_neither_too_small_nor_too_large(preset: str, cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "cache_bytes", lambda: cache)
    config = BertConfig.preset(preset)
    for length in (8, 64, 128, 512):
        tokens = length * choose_micro_batch(config, 10_000, length)
        assert FEWEST_TOKENS - length < tokens <= MOST_TOKENS
        assert choose_micro_batch(config, 1, length) == 1
        for batch in (2, 3, 16):
            assert 1 <= choose_micro_batch(config, batch, length) <= (batch + 1) // 2


def test_a_wider_model_gets_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "cache_bytes", lambda: 3 << 19)
    sizes = [choose_micro_batch(BertConfig.preset(name), 1000, 16) for name in ("mini", "small", "base")]
    assert sizes[0] > sizes[1] >= sizes[2]


def test_two_threads_get_equal_parts_of_the_usual_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    for cache in range(1 << 18, 1 << 22, 1 << 17):
        monkeypatch.setattr(micro_batch, "cache_bytes", lambda cache=cache: cache)
        for preset, batch, length in itertools.product(("tiny", "small", "base"), (2, 4, 16), (8, 64, 96, 512)):
            assert -(-batch // choose_micro_batch(BertConfig.preset(preset), batch, length)) % 2 == 0
