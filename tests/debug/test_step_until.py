"""Where the walk stops, and that it stays where it is when there is no such place."""

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from minibert import InputError, Tensor
from minibert import functional as F
from minibert.debug.stepping import Stepper, step
from minibert.debug.stepping.until import Condition

from .test_step import leaf


@pytest.fixture
def toy() -> Stepper:
    return step(toy_model(num_hidden_layers=3)(**toy_batch()).loss)


def places(walk: Stepper, *arguments: str, **conditions: object) -> list[int]:
    """Every number at which the walk stops."""
    found = []
    while True:
        try:
            found.append(walk.until(*arguments, **conditions).number)
        except InputError as error:
            assert "fits" in str(error) and walk.number == (found or [1])[-1]
            return found


def numbers(walk: Stepper, fits: object) -> list[int]:
    return [event.number for event in walk if fits(event)]  # type: ignore[operator]


def test_until_an_operation(toy: Stepper) -> None:
    assert places(toy, "attention") == numbers(toy, lambda e: e.node.op.name == "attention")
    assert len(numbers(toy, lambda e: e.node.op.name == "attention")) == 6


def test_a_fresh_walk_may_stop_at_its_first_operation(toy: Stepper) -> None:
    assert toy.until("embedding").number == 1
    assert toy.until("embedding").number == 2


def test_until_a_part_of_the_model(toy: Stepper) -> None:
    expected = numbers(toy, lambda e: e.node.module.startswith("bert.encoder.layer.1."))
    assert places(toy, "encoder.layer.1") == expected and len(expected) > 20
    assert places(Stepper(toy.loss), layer=1) == expected
    assert places(Stepper(toy.loss), "layer 1") == expected
    assert places(Stepper(toy.loss), "pooler", phase="forward") == numbers(
        toy, lambda e: e.phase == "forward" and e.node.module.startswith("bert.pooler"))


def test_a_part_of_a_name_is_no_part_of_a_path(toy: Stepper) -> None:
    with pytest.raises(InputError, match=r"no operation and no module 'oder\.layer\.1'"):
        toy.until("oder.layer.1")
    with pytest.raises(InputError, match="no operation and no module 'layer 3'"):
        toy.until(layer=3)


def test_all_conditions_must_hold(toy: Stepper) -> None:
    backward = numbers(toy, lambda e: (e.phase, e.node.op.name) == ("backward", "linear"))
    expected = [number for number in backward if "layer.2." in toy.at(number).node.module]
    assert places(toy, "linear", layer=2, phase="backward") == expected
    assert places(Stepper(toy.loss), "backward linear layer 2") == expected


def test_until_a_nan_or_an_infinity() -> None:
    x = leaf("x", [0.5, -0.25, 4.0])
    with np.errstate(all="ignore"):
        walk = step((F.log(F.tanh(x)) * x).sum())
        event = walk.until(nan=True)
        assert event.node.op.name == "log" and event.not_finite == ["y"] and event.number == 2
        assert walk.until("nan").node.op.name == "multiply"
        event = step((leaf("x", [0.0, 4.0]) ** 0.5).sum()).until(nan=True)  # the value is fine, the slope is infinite
        assert (event.phase, event.node.op.name, event.not_finite) == ("backward", "power", ["dx"])
    with pytest.raises(InputError, match="no step after this one, 1 of 4, fits 'nan': still here"):
        step(F.sqrt(leaf("x", [1.0, 4.0])).sum()).until(nan=True)


def test_until_a_norm() -> None:
    x = leaf("x", [3.0, 4.0])
    walk = step(F.tanh(x * 2.0).sum() * Tensor(np.float64(100.0)))
    assert [event.norm > 9.0 for event in walk] == [True, False, False, True, True, True, True, False]
    assert places(walk, norm=9.0) == [1, 4, 5, 6, 7]
    assert places(step(walk.loss), "norm > 150") == [4]
    assert places(step(walk.loss), "norm>9e0 tanh") == [7]


def test_the_norm_is_the_largest_that_is_computed_here() -> None:
    x = leaf("x", [3.0, 4.0])
    walk = step((x * x).sum())
    assert walk.at(1).norm == pytest.approx(np.hypot(9, 16))  # the output; the inputs were there before
    assert walk.at(4).norm == pytest.approx(10.0)  # 2 x, when both uses are added up


@pytest.mark.parametrize(("text", "condition"), [
    ("attention", Condition("attention")), ("layer=2 nan", Condition(layer=2, nan=True)),
    ("norm>1.5e-3", Condition(norm=0.0015)), ("backward norm > 10 layer 1", Condition("", 1, False, 10.0, "backward")),
    ("forward encoder.layer.0", Condition("encoder.layer.0", phase="forward"))])
def test_conditions_in_words(text: str, condition: Condition) -> None:
    assert Condition.read(text) == condition == Condition.read(str(condition))


@pytest.mark.parametrize(("text", "message"), [
    ("", "until what"), ("attention linear", "as one name"), ("norm>1.2.3", "as a number"),
    ("atention", "did you mean attention"), ("cnn", "the operations are add, ")])
def test_what_makes_no_sense_is_answered(text: str, message: str, toy: Stepper) -> None:
    with pytest.raises(InputError, match=message):
        toy.until(text)
    with pytest.raises(InputError, match="'forward' or 'backward', not 'sideways'"):
        toy.until(phase="sideways")
    assert toy.number == 1
