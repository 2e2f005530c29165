"""Dropout's masks: the documented random stream, its statistics, and independence of how a batch is cut."""

from typing import Any

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.ops.dropout import DropoutKey, dropout, dropout_backward, keep_mask

MASK_64 = (1 << 64) - 1


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 in Python's integers, as in Salmon et al. 2011, section 3.3 and table 2."""
    c, k = list(counter), list(key)
    for _ in range(10):
        low_0, low_1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(low_1 >> 64) ^ c[1] ^ k[0], low_1 & MASK_64, (low_0 >> 64) ^ c[3] ^ k[1], low_0 & MASK_64]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK_64, (k[1] + 0xBB67AE8584CAA73B) & MASK_64]
    return c


def numbers_by_hand(key: DropoutKey, count: int) -> list[int]:
    """16-bit numbers `key.start` .. of the stream; NumPy raises the counter before it generates."""
    numbers = []
    for block in range((key.start + count) // 16 + 1):
        for word in philox4x64([block + 1, key.step, 0, 0], [key.seed, key.site]):
            numbers += [(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
    return numbers[key.start:key.start + count]


def test_the_published_test_vector() -> None:
    """Random123's known answer for Philox4x64-10 with counter and key 0."""
    assert philox4x64([0] * 4, [0] * 2) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B,
                                            0x7E68B68AEC7BA23B]


@pytest.mark.parametrize("key", [DropoutKey(0, 0, 0), DropoutKey(11, 3, 2), DropoutKey(11, 3, 2, 7),
                                 DropoutKey(2**64 - 1, 10**6, 40, 16), DropoutKey(2**63, 1, 1, 1003)])
def test_masks_follow_the_documented_stream(key: DropoutKey) -> None:
    for p in (0.1, 0.5):
        expected = [number >= round(p * 65536) for number in numbers_by_hand(key, 77)]
        np.testing.assert_array_equal(keep_mask((7, 11), p, key).ravel(), expected)


@pytest.mark.parametrize("cut", [1, 3, 4, 15, 16, 17, 31, 100])
def test_masks_do_not_depend_on_how_the_batch_is_cut(cut: int) -> None:
    whole = keep_mask((123,), 0.3, DropoutKey(5, 9, 1))
    parts = [keep_mask((min(cut, 123 - i),), 0.3, DropoutKey(5, 9, 1, i)) for i in range(0, 123, cut)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_equal_keys_give_equal_masks_and_each_part_of_a_key_matters() -> None:
    key = DropoutKey(5, 9, 1)
    mask = keep_mask((200,), 0.5, key)
    np.testing.assert_array_equal(mask, keep_mask((10, 20), 0.5, key).ravel())
    for other in (key._replace(seed=6), key._replace(step=10), key._replace(site=2), key._replace(start=16)):
        assert 60 < (mask != keep_mask((200,), 0.5, other)).sum() < 140  # half of them, by chance


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_rate_and_mean(p: float) -> None:
    """Within five standard deviations of a million coins; scaled survivors preserve the mean."""
    n = 1_000_000
    y, (keep, scale) = dropout(np.ones(n), p, DropoutKey(1, 2, 3))
    deviation = (p * (1 - p) / n) ** 0.5
    assert abs((~keep).mean() - round(p * 65536) / 65536) < 5 * deviation
    assert abs(y.mean() - 1.0) < 5 * deviation * scale
    np.testing.assert_array_equal(np.unique(y), [0.0, scale])


def test_neighbouring_steps_and_sites_are_uncorrelated() -> None:
    n = 100_000
    masks = [keep_mask((n,), 0.5, DropoutKey(1, step, site)) for step in range(3) for site in range(3)]
    correlations = np.corrcoef(np.array(masks, float))[np.triu_indices(9, 1)]
    assert np.abs(correlations).max() < 5 / n**0.5


def test_what_is_dropped_gets_no_gradient() -> None:
    x = np.random.default_rng(0).standard_normal((7, 11))
    y, saved = dropout(x, 0.4, DropoutKey(1, 2, 3))
    (dx,) = dropout_backward(x, *saved)
    np.testing.assert_array_equal(dx, y)  # a linear map that is its own transpose
    assert 0 < (y == 0).sum() < y.size


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, 0.999999])
def test_probabilities_that_leave_nothing_are_refused(p: Any) -> None:
    with pytest.raises(InputError, match=r"a dropout probability must be at least 0 and below 0.99998"):
        dropout(np.ones(3), p, DropoutKey(1, 2, 3))
