"""What a start from counts promises: vectors from company, bias from frequency, heads that look at one distance."""

import math

import numpy as np
import pytest

from minibert import BertConfig, BertForPreTraining, InputError
from minibert.backend import Array
from minibert.nn import sinusoidal_positions
from minibert.train.count_start import (
    FIRST_SCORE,
    LONGEST_WAVE,
    WINDOW,
    check_countable,
    company_counts,
    start_from_counts,
    word_vectors,
)

V, H, A = 61, 64, 4


def documents(seed: int = 0) -> list[list[Array]]:
    """Two languages that never meet: pieces 5 to 32 keep each other's company, and so do 33 to 60."""
    rng = np.random.default_rng(seed)
    halves = (np.arange(5, 33), np.arange(33, V))
    return [[rng.choice(halves[d % 2], size=int(rng.integers(1, 12))) for _ in range(9)] for d in range(14)]


def started(seed: int = 3, **shape: int) -> BertForPreTraining:
    config = BertConfig(vocab_size=V, hidden_size=H, num_hidden_layers=2, num_attention_heads=A, intermediate_size=40,
                        max_position_embeddings=48, initializer_range=0.03, **shape)
    model = BertForPreTraining(config, seed=seed)
    start_from_counts(model, documents(), seed)
    return model.eval()


def test_company_is_counted_within_the_window_and_never_across_documents() -> None:
    expected = np.zeros((V, V))
    for document in documents():
        text = np.concatenate(document).tolist()
        for i, piece in enumerate(text):
            for k in range(1, WINDOW + 1):
                if i + k < len(text):
                    expected[piece, text[i + k]] += 1 / k
                    expected[text[i + k], piece] += 1 / k
    np.testing.assert_allclose(company_counts(documents(), V), expected, rtol=1e-5)


def test_vectors_at_full_width_have_the_products_of_the_information_table() -> None:
    rng = np.random.default_rng(1)
    C = rng.integers(1, 9, (7, 7)).astype(np.float32)
    C = C + C.T + 40 * np.eye(7, dtype=np.float32)
    total = C.sum(axis=1, dtype=np.float64)
    chance = total**0.75 / (total**0.75).sum()
    P = np.maximum(np.log(C / (total[:, None] * chance)), 0)
    P = (P + P.T) / 2
    assert np.linalg.eigvalsh(P).min() > 0
    E = word_vectors(C, 7, rng)
    np.testing.assert_allclose((E * E).mean(axis=1), 1.0, rtol=1e-4)
    length = np.sqrt(np.diag(P))
    np.testing.assert_allclose(E @ E.T / 7, P / np.outer(length, length), atol=1e-3)


def test_words_that_keep_the_same_company_are_alike() -> None:
    E = word_vectors(company_counts(documents(), V), H, np.random.default_rng(0))[5:]
    alike = E @ E.T / H
    same = np.equal.outer(np.arange(5, V) < 33, np.arange(5, V) < 33) & ~np.eye(V - 5, dtype=bool)
    assert alike[same].mean() > 0.05 > abs(alike[~same & ~np.eye(V - 5, dtype=bool)].mean())


def test_the_output_bias_is_the_logarithm_of_the_frequency() -> None:
    counts = np.bincount(np.concatenate([s for d in documents() for s in d]), minlength=V) + 0.5
    bias = started().cls.predictions.bias.data
    np.testing.assert_allclose(bias, np.log(counts / counts.sum()), rtol=1e-5)
    assert math.isclose(float(np.exp(bias.astype(np.float64)).sum()), 1.0, rel_tol=1e-5)


@pytest.mark.parametrize(("head", "distance"), [(0, -1), (1, 1), (2, -2), (3, 2)])
def test_the_query_of_a_position_is_the_key_at_the_heads_own_distance(head: int, distance: int) -> None:
    waves = sinusoidal_positions(48, H, np.float64, LONGEST_WAVE)
    rows = slice(head * (H // A), (head + 1) * (H // A))
    for layer in started().bert.encoder.layer:
        queries = waves @ layer.attention.self.query.weight.data[rows].T
        keys = waves @ layer.attention.self.key.weight.data[rows].T
        shifted = np.roll(keys, -distance, axis=0)
        np.testing.assert_allclose(queries[2:-2], shifted[2:-2], atol=1e-5)
        assert np.abs(queries - keys).max() > 0.1


def test_a_match_of_positions_scores_about_what_was_asked_for() -> None:
    waves = sinusoidal_positions(48, H, np.float64, LONGEST_WAVE)  # of square length H / 2
    for layer in started().bert.encoder.layer:
        keys = (waves @ layer.attention.self.key.weight.data.T).reshape(48, A, H // A)
        scores = (keys * keys).sum(axis=-1) / math.sqrt(H // A)
        assert scores.mean() == pytest.approx(FIRST_SCORE, rel=0.3)


def test_the_start_is_the_same_for_a_seed_and_other_for_another() -> None:
    one, same, other = (started(seed).state_dict() for seed in (3, 3, 4))
    assert all((one[name] == same[name]).all() for name in one)
    words = "bert.embeddings.word_embeddings.weight"
    assert (one[words] != other[words]).any()


def test_an_odd_width_and_one_head_can_start_too() -> None:
    config = BertConfig(vocab_size=V, hidden_size=33, num_hidden_layers=1, num_attention_heads=1, intermediate_size=20,
                        max_position_embeddings=16)
    model = BertForPreTraining(config)
    start_from_counts(model, documents(), 0)
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_a_vocabulary_too_large_to_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="--start random or a smaller --vocab-size"):
        check_countable(16385)
    check_countable(16384)
