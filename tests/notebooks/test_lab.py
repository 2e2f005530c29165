"""Answers are graded and shown, hints come in order, the engine is left as it was, and progress is never lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert import functional as F
from minibert import lab
from minibert.errors import InputError
from minibert.lab.answering import grade, is_open
from minibert.lab.declaring import Backward, Exercise, Function, Value, exercise
from minibert.lab.record import NAME, Progress, Record
from minibert.ops.broadcast import unbroadcast
from minibert.ops.registry import REGISTRY
from minibert.tensor import Tensor

RIGHT = exercise("4.3")
Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def softmax_backward(dp: Any, p: Any) -> Any:
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def squares(**options: Any) -> Function:
    """A made-up exercise: y = x^2 and z = a x - b x^3."""
    return Function(number="99.1", title="squares", hints=("one", "two"), outputs=("y", "z"),
                    right=lambda x, a: (x * x, a * x - x**3), cases=lambda rng: [
                        (rng.standard_normal(n), float(n)) for n in (3, 5)],
                    terms={"z": {"a x": lambda x, a: a * x, "-x^3": lambda x, a: -x**3}},
                    factors={"z": {"a": lambda x, a: a}}, **options)


# --- open, passed, wrong ------------------------------------------------------------------------------------

def test_what_is_not_written_yet_is_open_and_no_try(folder: Path) -> None:
    def nothing(dp: Any, p: Any) -> Any:
        """What it should do."""
        ...
    assert is_open(nothing) and not is_open(softmax_backward) and not is_open(np.exp) and not is_open(lambda dp, p: 0.5)
    assert [grade(RIGHT, given).state for given in (nothing, ...)] == ["open", "open"]
    assert 'lab.hint("4.3")' in repr(grade(RIGHT, nothing))
    assert not (folder / NAME).exists()


def test_a_decorated_function_comes_back_and_its_result_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.answer("4.3")(softmax_backward) is softmax_backward
    shown = capsys.readouterr().out
    assert shown.startswith("✓ 4.3 passed: Write this backward: softmax\n  dx: exact, on 3 random inputs\n")
    assert "gradient check: x, analytic" in shown
    assert "steps with your softmax_backward: loss 2.920 -> 0.123, as with the library's" in shown


def test_a_backward_that_is_right_trains_and_shows_its_curve() -> None:
    result = grade(RIGHT, softmax_backward)
    assert result.passed and result.training is not None and result.training.same
    assert result.training.mine[-1] < 0.1 * result.training.mine[0]
    assert "data:image/png;base64" in result._repr_html_()


def test_rounding_is_not_an_error_but_is_told() -> None:
    assert "close: equal but for rounding" in repr(grade(RIGHT, lambda dp, p: p * dp - p * (p * dp).sum(-1)[..., None]))


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda x, a: (x * x, a * x), "the term -x^3 is missing"),
    (lambda x, a: (x * x, a * x + x**3), "the term -x^3 has its sign turned"),
    (lambda x, a: (x * x, 2 * a * x - x**3), "the term a x is 2 times as large as it should be"),
    (lambda x, a: (x * x, x - x**3 / a), "the factor a is missing"),
    (lambda x, a: (x * x, a * a * x - a * x**3), "the factor a is in it twice"),
    (lambda x, a: (x * x, x**3 - a * x), "the whole has its sign turned"),
    (lambda x, a: (x * x, 0 * x), "the whole is missing"),
    (lambda x, a: (x * x, np.sin(x)), "none of the usual slips"),
    (lambda x, a: (x * x, np.where(x == x[2], np.nan, a * x - x**3)), "first at [2]: nan"),
    (lambda x, a: (x * x, (a * x - x**3)[None]), "it has shape 1x3, and 3 is right"),
    (lambda x, a: x * x, "it returned 1 result, and 2 are asked for: y, z"),
    (lambda x, a: (x * x, "z"), "numbers are asked for, not 'z'"),
    (lambda x, a: (x * x, ...), "numbers are asked for"),
    (lambda x, a: (x * x, undefined), "it raised NameError: name 'undefined' is not defined"),  # noqa: F821
    (lambda x, a: (x.__imul__(x), a), "it changes an array that it was given"),
])
def test_a_wrong_function_is_told_what_is_wrong(wrong: Call, words: str) -> None:
    result = grade(squares(), wrong)
    assert result.state == "wrong"
    assert words in repr(result)


def test_a_single_result_may_be_a_list_or_a_tuple_of_one() -> None:
    for form in (lambda x: x, lambda x: (x,), lambda x: x.tolist()):
        assert grade(exercise("1.3"), lambda d, shape, form=form: form(unbroadcast(d, shape))).passed
    assert "it returned 2 results, and 1 is asked for: sum" in repr(grade(exercise("1.3"), lambda d, shape: (d, d)))


def test_the_first_wrong_number_is_shown_beside_the_right_one() -> None:
    exercise = Value(number="99.2", title="", hints=("a", "b"), right=np.arange(6.0).reshape(2, 3))
    wrong = exercise.right + np.array([[0, 0, 0], [0, 0.5, 1]])
    assert "2 of 6 numbers are wrong, the first at [1, 1]: 4.5, where 4 is right" in repr(grade(exercise, wrong))
    close = Value(number="99.5", title="", hints=("a", "b"), right=[1.0, 2.0], tolerance=1e-9)
    assert "the first at [1]: 2.000001, where 2.0 is right" in repr(grade(close, [1.0, 2.000001]))
    assert "(it is transposed)" in repr(grade(exercise, exercise.right.T))
    assert grade(exercise, exercise.right.tolist()).passed


def test_numbers_and_words_are_graded() -> None:
    half = Value(number="99.3", title="", hints=("a", "b"), right=0.5, mistakes={"that is its square": 0.25})
    assert grade(half, 0.50001).passed and not grade(half, 0.51).passed
    small = Value(number="99.6", title="", hints=("a", "b"), right=1e-6)
    assert grade(small, 1.0001e-6).passed and not grade(small, 2e-6).passed
    assert "too large" in repr(grade(half, 0.7)) and "too small" in repr(grade(half, 0.1))
    assert "sign is turned" in repr(grade(half, -0.5)) and "its square" in repr(grade(half, 0.25))
    word = Value(number="99.4", title="", hints=("a", "b"), right="Softmax", mistakes={"relu": "that has no sum"})
    assert grade(word, " softmax").passed and "no sum" in repr(grade(word, "ReLU"))
    assert "a word is asked for" in repr(grade(word, 3)) and "numbers are asked for" in repr(grade(half, "x"))


def test_a_backward_that_only_fits_the_random_inputs_does_not_pass() -> None:
    def only_small(dp: Any, p: Any) -> Any:
        return softmax_backward(dp, p) * (1.0 if p.shape[-1] in (3, 5) or p.shape == (2, 4, 7) else 0.5)
    result = grade(RIGHT, only_small)
    assert result.state == "wrong" and "not where a model uses it" in repr(result)


def test_the_gradient_check_runs_with_the_answer() -> None:
    calls = []

    def right_at_first(dp: Any, p: Any) -> Any:
        calls.append(p.shape)
        return softmax_backward(dp, p) * (1.0 if len(calls) <= 3 else 1.001)
    assert "the gradient check disagrees" in repr(grade(RIGHT, right_at_first))


def test_there_is_no_such_exercise() -> None:
    with pytest.raises(InputError, match=r"no exercise '4\.99': this notebook has 4\.1, 4\.2"):
        lab.answer("4.99", 1)
    with pytest.raises(InputError, match="as text"):
        lab.exercise("x")
    assert "4.3 Write this backward: softmax: a function that returns dx; 4 hints" in repr(lab.exercise("4.3"))


# --- swapping -----------------------------------------------------------------------------------------------

def test_the_engine_uses_the_other_backward_in_the_block_and_never_after_it() -> None:
    before = REGISTRY["softmax"]
    x = Tensor(np.array([[0.3, -0.2, 1.1]]), requires_grad=True)
    dy = np.array([[1.0, 2.0, 3.0]])
    with pytest.raises(ZeroDivisionError), lab.swapped("softmax", lambda dp, p: 7.0 * dp):
        F.softmax(x).backward(dy)
        raise ZeroDivisionError
    np.testing.assert_array_equal(x.grad, 7.0 * dy)
    assert REGISTRY["softmax"] is before
    with pytest.raises(InputError, match="no operation 'softmux'"), lab.swapped("softmux", softmax_backward):
        pass


def test_a_wrong_backward_trains_otherwise() -> None:
    training = lab.train_with("softmax", lambda dp, p: p * dp, steps=20)
    assert not training.same and len(training.mine) == 20
    assert f"with the library's to {training.library[-1]:.3f}" in repr(training)


def test_every_backward_exercise_finds_a_model_that_uses_it() -> None:
    with pytest.raises(InputError, match="no toy model uses power"):
        lab.train_with("power", lambda dy, x, exponent: dy)


# --- hints and progress -------------------------------------------------------------------------------------

def test_hints_come_one_after_the_other_and_then_the_solution_is_named(folder: Path) -> None:
    hints = exercise("4.6").hints
    shown = [repr(lab.hint("4.6")) for _ in range(len(hints) + 1)]
    for i, (text, hint) in enumerate(zip(shown, hints, strict=False)):
        assert f"hint {i + 1} of 3" in text and hint in text
    assert hints[-1] in shown[-1] and "solutions/04_attention.py" in shown[-1]
    assert Record.read(folder).hints("4.6") == 3


def test_progress_is_kept_and_what_was_passed_stays_so(folder: Path) -> None:
    lab.answer("4.1", 8.0)
    lab.answer("4.1", 64.0)
    lab.answer("4.1", 8.0)
    lab.hint("4.2")
    assert json.loads((folder / NAME).read_text(encoding="utf-8")) == {"version": 1, "exercises": {
        "4.1": {"passed": True, "tries": 3, "hints": 0}, "4.2": {"passed": False, "tries": 0, "hints": 1}}}
    rows = {row[0]: row[1:] for row in lab.progress().rows()}
    assert rows["04_attention"] == (6, 1, 1)
    assert "4.1" not in lab.progress().to_do() and "4.2" in lab.progress().to_do()
    one = lab.progress(4)
    assert one.rows()[:2] == [("4.1", exercise("4.1").title, "yes", 0), ("4.2", exercise("4.2").title, "", 1)]
    assert repr(one).endswith("next: 4.2") and len(one.rows()) == 6
    with pytest.raises(InputError, match="no notebook 99"):
        lab.progress(99)
    assert "next: " in repr(lab.progress()) and "<table" in lab.progress()._repr_html_()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"exercises": 3}', b'{"exercises": {"4.1": {"passed": 1}}}',
                                     b"\xff"])
def test_a_damaged_file_is_told_and_left_alone(content: bytes, folder: Path) -> None:
    (folder / NAME).write_bytes(content)
    result = lab.answer("4.1", 64.0)
    assert result.passed
    assert NAME in repr(result) and "nothing is recorded until you repair or remove it" in repr(result)
    assert "nothing is recorded" in repr(lab.progress()) and "nothing is recorded" in repr(lab.hint("4.1"))
    assert (folder / NAME).read_bytes() == content


def test_a_folder_that_cannot_be_written_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise InputError("the disk is full")
    monkeypatch.setattr("minibert.lab.record.write_atomically", full)
    assert "the progress was not kept: the disk is full" in repr(lab.answer("4.1", 64.0))


def test_all_is_done_when_all_is_passed(folder: Path) -> None:
    record = Record.read(folder)
    for number in Progress(record).to_do():
        record.answered(number, True)
    assert repr(lab.progress()).endswith("all exercises are passed")


# --- numbers and figures ------------------------------------------------------------------------------------

def test_the_numeric_gradient_is_the_gradient() -> None:
    x = np.array([[0.3, -0.2, 1.1], [2.0, 0.7, -1.3]])
    np.testing.assert_allclose(lab.numeric_gradient(lambda x: (x**3).sum(), x), 3 * x**2, rtol=1e-7)


def test_what_does_not_agree_raises() -> None:
    x = np.array([1.0, 2.0])
    assert lab.agree(by_hand=x, numeric=x + 1e-9, library=Tensor(x)) == "by hand, numeric and library agree to 1e-07"
    with pytest.raises(AssertionError, match="library and by_hand differ by 5"):
        lab.agree(by_hand=x, library=x + 0.1)
    with pytest.raises(AssertionError, match="differ"):
        lab.agree(a=x, b=x * np.nan)
    with pytest.raises(AssertionError, match="shape"):
        lab.agree(a=x, b=x[None])


def test_figures_are_the_same_bytes_each_time() -> None:
    from minibert.lab.drawing import as_png

    x = np.arange(6.0).reshape(2, 3)
    figure = lab.matrices(x=x, dx=-x)
    assert [axes.get_title() for axes in figure.axes] == ["x", "dx"]
    assert b"matplotlib" not in as_png(figure).lower()  # its version would stand there
    assert as_png(figure) == as_png(lab.matrices(x=x, dx=-x)) != as_png(lab.matrices(x=x, dx=x))


def test_a_declaration_must_be_whole() -> None:
    with pytest.raises(NotImplementedError):
        Exercise(number="1.1", title="", hints=()).asks()
    assert isinstance(RIGHT, Backward) and RIGHT.outputs == ("dx",)
