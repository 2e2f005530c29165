"""Every exercise: its solution passes, wrong answers are rejected with the reason, and its declaration is sound."""

import runpy
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from minibert.lab.answering import grade
from minibert.lab.declaring import Backward, Exercise, Function, Value, declared, every, notebooks
from minibert.lab.record import Record

SOLUTIONS = Path(__file__).parents[2] / "notebooks" / "solutions"
EVERY = [pytest.param(exercise, id=exercise.number) for exercise in every()]
FUNCTIONS = [param for param in EVERY if isinstance(param.values[0], Function)]
FORESEEN = [pytest.param(exercise, words, id=f"{exercise.number} {words}") for exercise in every()
            for words in exercise.mistakes]


def wrong_answers(name: str) -> dict:
    return import_module(f"notebooks.wrong.n{name}").WRONG


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", notebooks())
def test_the_solutions_pass_all_exercises(name: str, tmp_path: Path) -> None:
    runpy.run_path(str(SOLUTIONS / f"{name}.py"))
    record = Record.read(tmp_path)
    assert [exercise.number for exercise in declared(name) if not record.passed(exercise.number)] == []


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_has_five_exercises_and_one_is_to_write_a_backward(name: str) -> None:
    numbers = [exercise.number for exercise in declared(name)]
    assert numbers == [f"{int(name[:2])}.{i + 1}" for i in range(len(numbers))]
    assert len(numbers) >= 5
    assert any(isinstance(exercise, Backward) for exercise in declared(name))


@pytest.mark.parametrize("name", notebooks())
def test_there_are_two_wrong_answers_to_each_exercise(name: str) -> None:
    wrong = wrong_answers(name)
    assert wrong.keys() == {exercise.number for exercise in declared(name)}
    assert {number for number, answers in wrong.items() if len(answers) < 2} == set()


@pytest.mark.parametrize(("exercise", "given", "reason"), [
    pytest.param(exercise, given, reason, id=f"{exercise.number} {reason}") for name in notebooks()
    for exercise in declared(name) for given, reason in wrong_answers(name).get(exercise.number, [])])
def test_a_wrong_answer_is_rejected_with_the_reason(exercise: Exercise, given: object, reason: str) -> None:
    result = grade(exercise, given)
    assert result.state == "wrong"
    assert reason in repr(result)
    assert "none of the usual slips" not in repr(result)


@pytest.mark.parametrize(("exercise", "words"), FORESEEN)
def test_a_foreseen_mistake_is_named(exercise: Exercise, words: str) -> None:
    given = words if isinstance(exercise, Value) and isinstance(exercise.right, str) else exercise.mistakes[words]
    result = grade(exercise, given)
    assert result.state == "wrong"
    assert (exercise.mistakes[words] if given is words else words) in repr(result)


@pytest.mark.parametrize("exercise", FUNCTIONS)
def test_the_terms_add_up_to_the_right_answer(exercise: Function) -> None:
    assert exercise.terms.keys() | exercise.factors.keys() <= set(exercise.outputs)
    for sample in exercise.samples():
        for name, terms in exercise.terms.items():
            total = sum(term(*sample.args) for term in terms.values())
            np.testing.assert_allclose(total, sample.right[exercise.outputs.index(name)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exercise", FUNCTIONS)
def test_inputs_are_random_of_more_than_one_shape_and_float64(exercise: Function) -> None:
    samples = exercise.samples()
    floats = [[x for x in sample.args if isinstance(x, np.ndarray) and x.dtype.kind == "f"] for sample in samples]
    assert len({tuple(x.shape for x in arrays) for arrays in floats}) > 1
    assert all(x.dtype == np.float64 for arrays in floats for x in arrays)
    assert all(len(np.unique(x)) > 1 for arrays in floats for x in arrays if x.size > 2)


@pytest.mark.parametrize("exercise", EVERY)
def test_hints_are_a_ladder(exercise: Exercise) -> None:
    assert len(exercise.hints) >= 2
    assert all(hint.endswith((".", "?")) and len(hint) < 300 for hint in exercise.hints)
