"""AdamW against its four formulas, number by number; the schedule and clipping against their definitions."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from minibert import AdamW, BertConfig, BertForPreTraining, InputError
from minibert.nn import Parameter
from minibert.optim import BLOCK, PORTION, _portions, clip_scale, gradient_norm, warmup_linear

STRONG = {"lr": 0.3, "betas": (0.6, 0.8), "eps": 0.05, "weight_decay": 0.7}  # every term moves the result visibly


def naive_adamw(w: np.ndarray, gradients: list[np.ndarray], lr: float, betas: tuple[float, float], eps: float,
                weight_decay: float, bias_correction: bool = True) -> np.ndarray:
    """Formulas (1) to (4) of `AdamW`, for one number after the other, in Python's own arithmetic."""
    b1, b2 = betas
    result = []
    for i, value in enumerate(w.ravel().tolist()):
        m = v = 0.0
        for t, gradient in enumerate(gradients, start=1):
            g = float(gradient.flat[i])
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if bias_correction else (m, v)
            value = value - lr * weight_decay * value
            value = value - lr * m_hat / (math.sqrt(v_hat) + eps)
        result.append(value)
    return np.array(result).reshape(w.shape)


def steps(optimizer: AdamW, p: Parameter, gradients: list[np.ndarray], **options: float) -> None:
    for gradient in gradients:
        p.grad = gradient.copy()
        optimizer.step(**options)


@pytest.mark.parametrize("change", [
    {}, {"bias_correction": False}, {"eps": 2.0}, {"betas": (0.0, 0.0)}, {"betas": (0.99, 0.3)},
    {"weight_decay": 0.0}, {"lr": 0.0}], ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (13,), (1,), (2, 3, 4)], ids=str)
def test_six_steps_follow_the_formulas(change: dict[str, Any], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    settings = STRONG | change
    p = Parameter(rng.standard_normal(shape))
    gradients = [10.0 ** rng.integers(-3, 2) * rng.standard_normal(shape) for _ in range(6)]
    expected = naive_adamw(p.data, gradients, **settings)
    steps(AdamW([p], **settings), p, gradients)
    np.testing.assert_allclose(p.data, expected, rtol=1e-12, atol=1e-15)


def test_threads_share_out_every_number_once_and_give_the_same_bits() -> None:
    rng = np.random.default_rng(4)
    shapes = [(3,), (2 * PORTION + 5,), (7, 11), (PORTION,), (1,)]
    one, many = ([Parameter(np.zeros(shape, np.float32), decay=i % 2 == 0) for i, shape in enumerate(shapes)]
                 for _ in range(2))
    for p, q in zip(one, many, strict=True):
        p.assign(rng.standard_normal(p.shape))
        q.assign(p.data)
        p.grad = rng.standard_normal(p.shape).astype(np.float32)
        q.grad = p.grad.copy()
    one[2].grad = many[2].grad = None
    starts = [p.data.copy() for p in one]
    with ThreadPoolExecutor(3) as pool:
        assert gradient_norm(many, pool.map) == gradient_norm(one)
        for map_ in (None, pool.map):
            optimizer = AdamW(many if map_ else one, **STRONG)
            optimizer.step(0.5, **({"map": map_} if map_ else {}))
    for p, q in zip(one, many, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert p.version == q.version == (1 if p is one[2] else 2)
    for p, start in zip(one, starts, strict=True):
        assert ((p.data != start) == (p is not one[2])).all()


def test_a_portion_is_neither_too_small_for_a_thread_nor_too_large_to_share() -> None:
    sizes = [3, 2 * PORTION + 5, 77, PORTION, 1, PORTION // 2, PORTION // 2 + 1, 4]
    parameters = [Parameter(np.zeros(size, np.float32)) for size in sizes]
    for p in parameters:
        p.grad = p.data
    arrays = [p.data for p in parameters]
    shared = [sum(weights.size for _, weights, *_ in portion) for portion in _portions(parameters, arrays, arrays)]
    assert sum(shared) == sum(sizes) and all(PORTION <= n < 2 * PORTION for n in shared[:-1])
    assert 0 < shared[-1] < 2 * PORTION


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 37])
def test_large_parameters_are_updated_to_their_last_number(size: int) -> None:
    """They are updated in blocks; the numbers at the blocks' borders are compared."""
    rng = np.random.default_rng(2)
    p = Parameter(rng.standard_normal(size))
    gradients = [rng.standard_normal(size) for _ in range(2)]
    borders = np.unique(np.clip([0, 1, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, size - 2, size - 1],
                                0, size - 1))
    expected = naive_adamw(p.data[borders], [g[borders] for g in gradients], **STRONG)
    start = p.data.copy()
    steps(AdamW([p], **STRONG), p, gradients)
    np.testing.assert_allclose(p.data[borders], expected, rtol=1e-12)
    assert (p.data != start).all()


def test_float32_parameters_stay_float32_and_follow_the_formulas() -> None:
    rng = np.random.default_rng(3)
    p = Parameter(rng.standard_normal((6, 5)).astype(np.float32))
    gradients = [rng.standard_normal((6, 5)).astype(np.float32) for _ in range(4)]
    expected = naive_adamw(p.data, gradients, **STRONG)
    optimizer = AdamW([p], **STRONG)
    steps(optimizer, p, gradients)
    assert p.dtype == optimizer.m[0].dtype == optimizer.v[0].dtype == np.float32
    np.testing.assert_allclose(p.data, expected, rtol=1e-4, atol=1e-6)


def test_a_change_of_lr_between_steps_takes_effect() -> None:
    rng = np.random.default_rng(4)
    p, gradient = Parameter(rng.standard_normal((3, 4))), rng.standard_normal((3, 4))
    optimizer = AdamW([p], **STRONG)
    steps(optimizer, p, [gradient])
    before, optimizer.lr = p.data.copy(), 0.0
    steps(optimizer, p, [gradient])
    np.testing.assert_array_equal(p.data, before)
    optimizer.lr = 0.1
    steps(optimizer, p, [gradient])
    assert (p.data != before).all()


def test_gradients_are_scaled_before_everything_else_and_left_as_they_are() -> None:
    rng = np.random.default_rng(5)
    gradients = [rng.standard_normal((3, 5)) for _ in range(3)]
    p, q = Parameter(rng.standard_normal((3, 5))), Parameter(np.zeros((3, 5)))
    q.assign(p.data)
    scaled = AdamW([p], **STRONG)
    steps(scaled, p, gradients, scale=0.25)
    np.testing.assert_array_equal(p.grad, gradients[-1])
    steps(AdamW([q], **STRONG), q, [0.25 * g for g in gradients])
    np.testing.assert_allclose(p.data, q.data, rtol=1e-13)


def test_only_matrices_decay() -> None:
    """By name, over the whole model: neither biases nor anything of a layer norm, but every matrix and table."""
    model = BertForPreTraining(BertConfig(vocab_size=11, hidden_size=6, num_hidden_layers=2, num_attention_heads=2,
                                          intermediate_size=5, max_position_embeddings=7), dtype=np.float64)
    for p in model.parameters():
        p.assign(np.full(p.shape, 2.0))
        p.grad = np.zeros(p.shape)
    AdamW(model.parameters(), **STRONG).step()
    decayed = {name for name, p in model.named_parameters() if (p.data == 2.0 * (1 - 0.3 * 0.7)).all()}
    kept = {name for name, p in model.named_parameters() if (p.data == 2.0).all()}
    everything = {name for name, _ in model.named_parameters()}
    assert kept == {name for name in everything if name.endswith(".bias") or "LayerNorm" in name}
    assert decayed == everything - kept
    assert {name.split(".")[-2] for name in decayed} == {
        "word_embeddings", "position_embeddings", "token_type_embeddings", "query", "key", "value", "dense",
        "seq_relationship"}


def test_a_parameter_without_a_gradient_is_left_alone_with_its_moments() -> None:
    rng = np.random.default_rng(6)
    p, q = Parameter(rng.standard_normal((3, 4))), Parameter(rng.standard_normal((2, 5)))
    optimizer = AdamW([p, q], **STRONG)
    before = q.data.copy()
    steps(optimizer, p, [rng.standard_normal((3, 4))])
    np.testing.assert_array_equal(q.data, before)
    assert not optimizer.m[1].any() and not optimizer.v[1].any() and q.version == 0
    assert optimizer.m[0].all() and optimizer.v[0].all()


def test_each_step_is_counted_and_marks_what_it_changed() -> None:
    """The graph compares versions, so that a gradient of changed weights is refused."""
    p = Parameter(np.ones((2, 3)))
    optimizer, loss = AdamW([p], **STRONG), (p * p).sum()
    steps(optimizer, p, [np.ones((2, 3))] * 3)
    assert optimizer.steps == p.version == 3
    with pytest.raises(InputError, match="was changed after"):
        loss.backward()


def test_zero_grad_forgets_every_gradient() -> None:
    p, q = Parameter(np.ones((2, 3))), Parameter(np.ones(4))
    p.grad = np.ones((2, 3))
    AdamW([p, q]).zero_grad()
    assert p.grad is None and q.grad is None


def test_one_optimiser_takes_parameters_from_a_generator() -> None:
    ps = [Parameter(np.ones(n)) for n in (2, 3)]
    optimizer = AdamW((p for p in ps), **STRONG)
    for p in ps:
        p.grad = np.ones(p.shape)
    optimizer.step()
    assert all((p.data < 1.0).all() for p in ps)


def with_gradients(*gradients: np.ndarray | None) -> list[Parameter]:
    parameters = []
    for gradient in gradients:
        p = Parameter(np.zeros((2, 2) if gradient is None else gradient.shape))
        p.grad = gradient
        parameters.append(p)
    return parameters


def test_the_norm_is_that_of_all_gradients_as_one_vector() -> None:
    rng = np.random.default_rng(7)
    matrix, vector = rng.standard_normal((4, 3)), rng.standard_normal(5)
    whole = np.concatenate([matrix.ravel(), vector])
    assert gradient_norm(with_gradients(matrix, None, vector)) == pytest.approx(np.sqrt((whole**2).sum()), rel=1e-14)
    assert gradient_norm(with_gradients(matrix.T)) == pytest.approx(np.linalg.norm(matrix), rel=1e-14)
    assert gradient_norm(with_gradients(None)) == 0.0


@pytest.mark.parametrize(("norm", "largest", "scale"), [
    (4.0, 1.0, 0.25), (4.0, 3.0, 0.75), (0.5, 1.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0)])
def test_clipping_shortens_what_is_too_long_and_nothing_else(norm: float, largest: float, scale: float) -> None:
    assert clip_scale(norm, largest) == scale


def test_learning_rate_rises_to_its_peak_at_the_end_of_the_warmup_and_falls_to_nothing_after_the_last_step() -> None:
    rates = [warmup_linear(step, peak=0.5, warmup=4, total=10) for step in range(1, 12)]
    assert rates[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5], rel=1e-15)
    assert rates[4:] == pytest.approx([0.5 * k / 7 for k in (6, 5, 4, 3, 2, 1, 0)], rel=1e-15)
    assert max(rates) == 0.5 and rates[9] > 0.0 and warmup_linear(50, 0.5, 4, 10) == 0.0


def test_learning_rate_without_warmup_falls_from_the_first_step_on() -> None:
    assert [warmup_linear(step, 1.0, 0, 4) for step in (1, 2, 3, 4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert warmup_linear(1, 1.0, 1, 4) == 1.0
