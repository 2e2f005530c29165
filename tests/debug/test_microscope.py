"""What the microscope shows is what AdamW then does, to the last bit."""

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from minibert import AdamW, InputError
from minibert.debug.weight_update import FORMULAS, microscope
from minibert.graph import no_grad
from minibert.nn import Parameter
from minibert.optim import clip_scale, gradient_norm


def trained(dtype: type = np.float32, steps: int = 3, **options) -> tuple[Parameter, Parameter, AdamW]:
    """A matrix and a bias, both with a past, before the next step."""
    rng = np.random.default_rng(7)
    weight, bias = Parameter(rng.standard_normal((5, 7)).astype(dtype)), Parameter(
        rng.standard_normal(3).astype(dtype), decay=False)
    weight.name = "dense.weight"
    optimizer = AdamW([bias, weight], **({"lr": 3e-2, "weight_decay": 0.1} | options))
    for i in range(steps + 1):
        weight.grad, bias.grad = (rng.standard_normal(p.shape).astype(dtype) for p in (weight, bias))
        if i < steps:
            optimizer.step()
    return weight, bias, optimizer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 0.3137])
@pytest.mark.parametrize("steps", [0, 3])
def test_the_new_weight_is_that_of_the_step(dtype, bias_correction, weight_decay, scale, steps) -> None:
    weight, bias, optimizer = trained(dtype, steps, bias_correction=bias_correction, weight_decay=weight_decay)
    seen = [(index, microscope(optimizer, weight[index], scale)) for index in ((2, 4), 3, (slice(1, 3), -1))]
    of_bias = microscope(optimizer, bias[1], scale)
    before = weight.data.copy()
    optimizer.step(scale)
    for index, view in seen:
        assert view.w_new.dtype == dtype
        assert np.array_equal(view.w_new, weight.data[index])
        assert np.array_equal(view.m, optimizer.m[1][index])
        assert np.array_equal(view.v, optimizer.v[1][index])
        assert np.array_equal(view.w, before[index])
    assert of_bias.w_new == bias.data[1] and of_bias.settings["weight_decay"] == 0.0


def test_in_a_model_with_clipping() -> None:
    model, batch = toy_model().train(), toy_batch()
    for p in model.parameters():
        p.data = p.data.astype(np.float32)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        scale = clip_scale(gradient_norm(model.parameters()), 0.1)
        view = microscope(optimizer, model.bert.embeddings.word_embeddings.weight[3], scale)
        optimizer.step(scale)
    assert scale < 1.0
    assert np.array_equal(view.w_new, model.bert.embeddings.word_embeddings.weight.data[3])


def test_the_parts_are_the_formulas() -> None:
    """Adam's update written once more, in float64 and from the paper."""
    weight, _, optimizer = trained(np.float64)
    view = microscope(optimizer, weight[2, 4], 0.5)
    b1, b2 = optimizer.betas
    m_hat, v_hat = view.m / (1 - b1**4), view.v / (1 - b2**4)
    assert view.g_clipped == view.g / 2 and view.settings["t"] == 4
    assert view.m == pytest.approx(b1 * view.m_before + (1 - b1) * view.g_clipped, rel=1e-14)
    assert view.v == pytest.approx(b2 * view.v_before + (1 - b2) * view.g_clipped**2, rel=1e-14)
    assert view.m_hat == pytest.approx(m_hat, rel=1e-14) and view.root == pytest.approx(np.sqrt(v_hat), rel=1e-14)
    assert view.update == pytest.approx(0.03 * m_hat / (np.sqrt(v_hat) + 1e-6), rel=1e-14)
    assert view.decay == pytest.approx(-0.03 * 0.1 * view.w, rel=1e-12)
    assert view.change == pytest.approx(view.decay - view.update, rel=1e-12)


def test_looking_changes_nothing() -> None:
    weight, _, optimizer = trained()
    arrays = [weight.data, weight.grad, optimizer.m[1], optimizer.v[1]]
    before = [x.copy() for x in arrays]
    microscope(optimizer, weight[3], 0.5).figure()
    assert all(np.array_equal(x, y) for x, y in zip(arrays, before, strict=True))
    assert optimizer.steps == 3 and weight.version == 3


def test_the_table_shows_every_quantity_with_its_formula() -> None:
    weight, _, optimizer = trained()
    view = microscope(optimizer, weight[2, 4], 0.5)
    rows = {name: (value, formula) for name, value, formula in view.rows}
    assert all(rows[name][1] == formula for name, formula in FORMULAS.items())
    assert np.float32(rows["w_new"][0]) == view.w_new  # nine digits are a float32
    text = str(view)
    assert text.startswith("dense.weight[2, 4], float32") and max(map(len, text.splitlines())) <= 80
    assert "Clipping shortened the gradient to 50.0%." in text
    assert "w_decayed - update" in view._repr_html_()


def test_a_row_is_summed_up_in_words() -> None:
    weight, _, optimizer = trained()
    view = microscope(optimizer, weight[1:3, 2])
    assert view.place.startswith("dense.weight[1:3, 2]") and "length of 2 (largest)" in str(view)
    row = microscope(optimizer, weight[3])
    assert f"{np.linalg.norm(row.g):.4g} ({np.abs(row.g).max():.4g})" in str(row)
    cosine = row.m @ row.g / np.linalg.norm(row.m) / np.linalg.norm(row.g)
    assert f"cosine {cosine:+.2f}" in str(row)
    weight.grad[3] = 0.0
    assert "The gradient is 0: this step moves the weights by the momentum" in str(microscope(optimizer, weight[3]))


def test_the_figure_shows_the_movement() -> None:
    weight, _, optimizer = trained()
    view = microscope(optimizer, weight[3], 0.5)
    panels = view.figure().axes
    assert [axes.get_ylabel() for axes in panels] == ["gradient", "moments", "change of the weight"]
    assert [bar.get_height() for bar in panels[0].containers[0]] == pytest.approx(view.g_clipped.tolist())
    assert [bar.get_height() for bar in panels[2].containers[0]] == pytest.approx((-view.update).tolist())
    assert all(axes.get_legend() for axes in panels)


def test_errors_say_what_to_do() -> None:
    weight, _, optimizer = trained()
    stranger = Parameter(np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="none of the optimiser's parameters"):
        microscope(optimizer, stranger[0, 0])
    with pytest.raises(InputError, match="an indexed parameter, such as"):
        microscope(optimizer, weight)
    with pytest.raises(InputError, match="an indexed parameter, such as"):
        microscope(optimizer, (weight * 2.0)[1])
    with no_grad(), pytest.raises(InputError, match="outside no_grad"):
        microscope(optimizer, weight[1])
    with pytest.raises(InputError, match=r"\[1:1\] holds no number"):
        microscope(optimizer, weight[1:1])
    optimizer.zero_grad()
    with pytest.raises(InputError, match="has no gradient, so the step leaves it"):
        microscope(optimizer, weight[1])
