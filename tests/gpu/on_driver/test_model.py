"""A whole model on the device: the numbers of the CPU, without a wait, and within a budget of launches."""

from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_config, toy_model

from minibert import BertForPreTraining
from minibert.backend import to_host
from minibert.ops import registry

from ..driver.record import record

# What the toy model (two layers) asks the device for today: fewer is progress, more is not
BUDGETS = {(False, "forward"): {"launches": 62, "gemms": 20, "h2d": 9},
           (False, "backward"): {"launches": 72, "gemms": 40},
           (True, "forward"): {"launches": 81, "gemms": 20, "h2d": 20},
           (True, "backward"): {"launches": 82, "gemms": 40}}


def float32_model() -> BertForPreTraining:
    model = BertForPreTraining(toy_config()).train()
    for p, of_toy in zip(model.parameters(), toy_model().parameters(), strict=True):
        p.assign(of_toy.data)
    return model


def learn(model: BertForPreTraining, labelled_only: bool) -> tuple[Any, dict[str, np.ndarray], list[Any]]:
    """One forward and one backward pass: the loss, the gradients, and what the device was asked for in each."""
    model.zero_grad()
    model.bert.dropout_stream.seek(3)
    with record() as forward:
        loss = model(**toy_batch(), labelled_only=labelled_only).loss
    with record() as backward:
        loss.backward()
    gradients = {name: to_host(p.grad) for name, p in model.named_parameters()}
    return to_host(loss.data), gradients, [forward, backward]


@pytest.fixture(scope="module")
def models() -> tuple[BertForPreTraining, BertForPreTraining]:
    return float32_model(), float32_model().to("cuda")


@pytest.mark.parametrize("twins", [True, False], ids=["twins", "formulas"])
@pytest.mark.parametrize("labelled_only", [False, True])
def test_loss_and_gradients_are_those_of_the_cpu(models: tuple[Any, Any], labelled_only: bool, twins: bool,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, whose masks are therefore the same."""
    monkeypatch.setattr(registry.preference, "twins", twins)
    (loss, gradients, _), (mine, found, asked) = (learn(model, labelled_only) for model in models)
    assert loss.dtype == mine.dtype == np.float32 and mine == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        largest = max(np.abs(gradient).max(), 1e-2)  # the key's bias has no gradient but rounding
        assert np.abs(found[name] - gradient).max() < 2e-5 * largest, name
    for part in asked:
        assert part.counts["syncs"] == part.counts["d2h"] == 0
    assert asked[1].counts["h2d"] == 0


@pytest.mark.parametrize("labelled_only", [False, True])
def test_a_step_stays_within_its_budget(models: tuple[Any, Any], labelled_only: bool) -> None:
    learn(models[1], labelled_only)  # handles and the like are made once
    for part, asked in zip(("forward", "backward"), learn(models[1], labelled_only)[2], strict=True):
        for what in ("launches", "gemms", "h2d", "d2h", "d2d", "syncs"):
            assert asked.counts[what] <= BUDGETS[labelled_only, part].get(what, 0), f"{part}: {asked.counts}"


def test_no_number_of_the_step_is_double(models: tuple[Any, Any]) -> None:
    """A float64 that slipped in would be as many times slower as a GPU for float32 is faster."""
    *_, asked = learn(models[1], False)
    assert not [event for part in asked for event in part.journal if "float64" in event]


def test_dropout_on_the_device_keeps_the_same_bits(models: tuple[Any, Any]) -> None:
    kept = []
    for model in models:
        model.bert.dropout_stream.seek(5)
        output = model(**toy_batch(), output_hidden_states=True)
        kept.append(to_host(output.hidden_states[0].data) == 0)
    assert 0.1 < kept[0].mean() < 0.3
    np.testing.assert_array_equal(*kept)
