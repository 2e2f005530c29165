"""What an exercise is. Each notebook's exercises are declared in a module of `minibert.lab.exercises`.

A declaration knows the right answer, and what people get wrong: the terms that the right answer is a sum of, the
factors in it, and whole wrong answers with the sentence to say about each. Its text is in the notebook.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minibert.debug.checking.gradcheck import random_like
from minibert.debug.html import MUTED, span
from minibert.errors import InputError
from minibert.lab import exercises
from minibert.ops.registry import REGISTRY, Op

if TYPE_CHECKING:
    from minibert.lab.toys import Toy

Parts: TypeAlias = Mapping[str, Mapping[str, Callable[..., Any]]]  # output -> words -> function of the arguments
Cases: TypeAlias = Callable[[np.random.Generator], Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """number: "4.3", the third exercise of notebook 4.  hints: a ladder, the last nearly the solution.

    mistakes: words -> a wrong answer of the same kind as the right one; the words are said to whoever gives it.
    tolerance: how far off an answer may be, relative to the largest number of the right one.
    """

    number: str
    title: str
    hints: tuple[str, ...]
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-9

    def __repr__(self) -> str:
        return f"{self.number} {self.title}: {self.asks()}; {len(self.hints)} hints"

    def _repr_html_(self) -> str:
        return f"<b>{self.number} {span(self.title)}</b> " + span(f"{self.asks()}; {len(self.hints)} hints",
                                                                  f"color:{MUTED}")

    def asks(self) -> str:
        """What kind of answer it wants."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False, kw_only=True)
class Value(Exercise):
    """Asks for a number, an array, or a word.  mistakes: words -> a wrong value."""

    right: Any
    tolerance: float = 1e-3

    def asks(self) -> str:
        """A word, a number or an array."""
        if isinstance(self.right, str):
            return "a word"
        return "a number" if np.ndim(self.right) == 0 else f"an array of shape {np.shape(self.right)}"


@dataclass(frozen=True, repr=False, kw_only=True)
class Function(Exercise):
    """Asks for a function that returns `outputs`; it is called with each of `cases`, float64 at odd sizes.

    terms: for an output, summands by name, functions of the same arguments; their sum must be the right answer, and
    an answer that lacks one, or turns its sign, is told so.  factors: likewise what the output is multiplied with.
    mistakes: words -> a wrong function.
    """

    right: Callable[..., Any]
    cases: Cases
    outputs: tuple[str, ...] = ("result",)
    terms: Parts = field(default_factory=dict)
    factors: Parts = field(default_factory=dict)

    def asks(self) -> str:
        """The outputs."""
        return f"a function that returns {', '.join(self.outputs)}"

    def samples(self) -> list["Sample"]:
        """The arguments of each case, with what is right for them."""
        return [Sample(args, as_tuple(self.right(*args))) for args in self.cases(self.rng())]

    def rng(self) -> np.random.Generator:
        """Random numbers that are the same each time."""
        return np.random.default_rng(int(self.number.replace(".", "")))


@dataclass(frozen=True, repr=False, kw_only=True)
class Backward(Function):
    """Write this backward: asks for the backward of an operation, and trains a model with it.

    cases: the arguments of the forward pass; the learner's function gets a random dy, and of what forward saved the
    arrays named by `given` (by default all), in that order.
    toy: a model of `minibert.lab.toys` that uses the operation, where none of those there does.
    """

    right: Callable[..., Any] = field(init=False)
    outputs: tuple[str, ...] = field(init=False)
    op: str
    given: tuple[str, ...] = ()
    toy: Callable[[], "Toy"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", self.entry.backward)
        object.__setattr__(self, "outputs", tuple(f"d{name}" for name in self.entry.inputs))

    @property
    def entry(self) -> Op:
        """The operation, as the registry has it."""
        return REGISTRY[self.op]

    def samples(self) -> list["Sample"]:
        """A random dy and what was saved, for each case, with the gradients of the library."""
        rng = self.rng()
        found = []
        for args in self.cases(rng):
            y, saved = self.entry.forward(*args)
            dy = random_like(rng, np.shape(y))
            found.append(Sample((dy, *self.pick(saved)), as_tuple(self.entry.backward(dy, *saved)), args))
        return found

    def pick(self, saved: tuple[Any, ...]) -> tuple[Any, ...]:
        """Of what forward saved, that which the learner's function is given."""
        by_name = dict(zip(self.entry.saved, saved, strict=True))
        return tuple(by_name[name] for name in self.given or self.entry.saved)


@dataclass(frozen=True)
class Sample:
    """What a learner's function is called with, and the right results; `forward`: arguments of the forward pass."""

    args: tuple[Any, ...]
    right: tuple[Any, ...]
    forward: tuple[Any, ...] = ()


def as_tuple(result: Any) -> tuple[Any, ...]:
    """Several results, or one."""
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def exercise(number: str) -> Exercise:
    """The exercise with this number.  Raises InputError when there is none."""
    for found in every():
        if found.number == number:
            return found
    numbers = [found.number for found in every() if found.number.partition(".")[0] == str(number).partition(".")[0]]
    hint = f"this notebook has {', '.join(numbers)}" if numbers else "the numbers are such as \"4.3\", as text"
    raise InputError(f"there is no exercise {number!r}: {hint}")


def every() -> list[Exercise]:
    """All exercises of all notebooks, in order."""
    return [found for name in notebooks() for found in declared(name)]


def notebooks() -> list[str]:
    """The names of the notebooks with exercises, such as 04_attention."""
    return sorted(info.name.removeprefix("n") for info in pkgutil.iter_modules(exercises.__path__))


def declared(name: str) -> tuple[Exercise, ...]:
    """The exercises of one notebook."""
    found: tuple[Exercise, ...] = import_module(f"{exercises.__name__}.n{name}").EXERCISES
    return found
