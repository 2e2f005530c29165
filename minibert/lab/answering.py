"""`answer`: take an answer from a cell, grade it, keep the progress, and show the result.

An answer that is still `...` is open, which is no error: a notebook runs from top to bottom before anything is done.
"""

import dis
import sys
from collections.abc import Callable
from typing import Any

from minibert.lab.declaring import Backward, Exercise, Function, Value, exercise
from minibert.lab.grading import Wrong, grade_function, grade_value
from minibert.lab.record import Record
from minibert.lab.result import Result
from minibert.lab.training import check_and_train

MISSING = object()
BARE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE"}  # of a function that is only `...`


def answer(number: str, given: Any = MISSING) -> Any:
    """Grade an answer: lab.answer("4.1", 8.0), or as a decorator the function that it is put on.

    A value's result is returned, and a function's shown; the function comes back as it was.
    Raises InputError when there is no exercise with this number.
    """
    asked = exercise(number)
    if given is not MISSING:
        return grade(asked, given)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        show(grade(asked, function))
        return function
    return decorate


def grade(asked: Exercise, given: Any) -> Result:
    """The result of an answer, which is added to the progress unless the answer is open."""
    if given is ... or (callable(given) and is_open(given)):
        place = "the body of the function" if isinstance(asked, Function) else "your answer"
        return Result(asked, "open", [f"put {place} in the place of `...` and run the cell; "
                                      f'lab.hint("{asked.number}") helps'])
    try:
        result = Result(asked, "passed", *_passed(asked, given))
    except Wrong as wrong:
        result = Result(asked, "wrong", str(wrong).splitlines())
    note = Record.here().answered(asked.number, result.state == "passed")
    return result if not note else Result(asked, result.state, [*result.lines, note], result.training)


def _passed(asked: Exercise, given: Any) -> tuple[Any, ...]:
    """What to say of a right answer, and a training run with it.  Raises Wrong."""
    if isinstance(asked, Value):
        return (grade_value(asked, given),)
    assert isinstance(asked, Function)
    if not callable(given):
        raise Wrong(f"a function is asked for, not {given!r}")
    lines = grade_function(asked, given)
    if not isinstance(asked, Backward):
        return (lines,)
    more, training = check_and_train(asked, given)
    return [*lines, *more], training


def is_open(function: Callable[..., Any]) -> bool:
    """Whether a function does nothing and returns nothing: its body is `...`, perhaps after a docstring."""
    if not hasattr(function, "__code__"):
        return False
    code = list(dis.get_instructions(function))
    loaded = [i.argval for i in code if i.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {i.opname for i in code} <= BARE and set(loaded) <= {None, ...}


def show(result: Result) -> None:
    """As the value of a cell would be shown; outside a notebook, as text."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        sys.modules["IPython"].display.display(result)
    else:
        print(result)
