r"""Computes what a formula says, naively and in float64, so that tests can hold the code against it.

    evaluate(r"p_i = \frac{e^{x_i}}{\sum_j e^{x_j}}", {"x": x})["p"]

What the registry's notation means:

    x\,y            elementwise, as NumPy broadcasts; so are +, -, / and the functions, but softmax: over the last axis
    a \cdot b       the product of matrices, over the last two axes; x^\top exchanges these; a vector is one row
    x_{ij}          indices name the last axes; the axes in front of them take part elementwise
    x_{nh}          n alone numbers all the axes in front of the others, row by row
    x_{aD + d}      an index may be computed
    H               a capital is the length of the axis whose index is the small letter, unless it is given
    \overline{x}    the mean over the last axis, which stays as an axis of length 1
    [i = j]         1 where this holds, 0 elsewhere
    0 / 0           is 0: what the code gives a row that is masked everywhere
    dv              has the shape of v: where v was broadcast, its gradient is summed
    r \sim ...      says where r comes from, and computes nothing

Statements are separated by commas and may stand in any order.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.formulas.axes import Axes, align, divide, elementwise, matrix_product, scattered, softmax
from minibert.debug.formulas.legend import ROWS
from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.tree import (
    Call,
    Expression,
    Fraction,
    Group,
    Indexed,
    Mean,
    Name,
    Negative,
    Number,
    Power,
    Product,
    Reduced,
    Root,
    Statement,
    Sum,
    Transposed,
    Truth,
    walk,
)
from minibert.errors import InputError
from minibert.ops.broadcast import unbroadcast

OPERATIONS: dict[str, Callable[..., Array]] = {"+": np.add, "-": np.subtract, "": np.multiply, "/": divide}
RELATIONS: dict[str, Callable[..., Array]] = {"=": np.equal, "<": np.less, ">": np.greater}
CONSTANTS = {"e": math.e, "pi": math.pi}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tanh": np.tanh, "ln": np.log, "max": np.maximum, "erf": np.frompyfunc(math.erf, 1, 1)}


def evaluate(formula: str, given: Mapping[str, Any]) -> dict[str, Array]:
    r"""What every statement of the formula defines, from the values that are given.

    Names are spelled as in code: \hat x is "xhat", d\gamma is "dgamma".
    Raises InputError for a name that is neither given nor defined, and where indices or shapes do not fit.
    """
    evaluation = Evaluation(parse(formula), given)
    try:
        with np.errstate(all="ignore"):  # ln 0, e^1000 and 0 / 0 have values here
            return {name: evaluation.value(name) for name in list(evaluation.open)}
    except (ValueError, IndexError) as error:
        raise InputError(f"the formula {formula!r} does not fit what is given: {error}") from error


class Evaluation:
    """The values known so far, and the statements that define the others."""

    def __init__(self, statements: list[Statement], given: Mapping[str, Any]) -> None:
        self.open: dict[str, Statement] = {}  # not computed yet
        self.functions: dict[str, tuple[str, Expression]] = {}  # parameter and value
        self.shapes = {name: np.shape(value) for name, value in given.items()}
        self.lengths: dict[str, int] = {}  # of indices
        for statement in statements:
            if statement.relation == "=":
                self.define(statement)
        for x in walk(tuple(statements)):
            if isinstance(x, Indexed):
                self.learn_lengths(x)
        self.known = {name: np.asarray(value, np.float64) for name, value in given.items() if name not in self.open}

    def define(self, statement: Statement) -> None:
        """Note what a statement defines."""
        match statement:
            case Statement(Call(function, (Name() as parameter,)), _, right) if right is not None:
                self.functions[function] = parameter.key, right
            case Statement(Name() as name) | Statement(Indexed(name)):
                self.open[name.key] = statement
            case _:
                raise InputError("the left side of a statement must be a name, with or without indices")

    def learn_lengths(self, x: Indexed) -> None:
        """Indices are as long as the axes of what is given, and a gradient has the shape of what it belongs to."""
        shape = self.shapes.get(x.name.key[1:] if x.name.gradient else x.name.key, ())
        if len(shape) >= len(x.indices):
            for index, length in zip(reversed(x.indices), reversed(shape), strict=False):
                if isinstance(index, Name) and index != ROWS and index.key not in self.shapes:
                    self.lengths[index.key] = length

    def value(self, name: str) -> Array:
        """A value that is given, or that a statement defines."""
        if name in self.open:
            statement = self.open.pop(name)  # so that a definition in a circle has no end to find
            assert statement.right is not None
            self.known[name] = self.stored(statement.left, self.of(statement.right))
        if name in self.known:
            return self.known[name]
        if name in CONSTANTS:
            return np.asarray(CONSTANTS[name])
        if name.isupper() and name.lower() in self.lengths:
            return np.asarray(float(self.lengths[name.lower()]))
        raise InputError(f"the formula does not say what {name} is")

    def stored(self, left: Expression, right: Axes) -> Array:
        """The right side as the array that the left side names, its axes in the order of the indices there."""
        name, indices = (left.name, left.indices) if isinstance(left, Indexed) else (left, ())
        assert isinstance(name, Name)
        places = [self.index(index) for index in indices]
        names = tuple(dict.fromkeys(n for place in places for n in place.names))
        for n in right.names:
            if n not in names:
                raise InputError(f"index {n} stands on the right of {name.key} = ..., and not on the left")
        array = right.to(names, tuple(self.length(n) for n in names))
        if not all(isinstance(index, Name) for index in indices):
            array = scattered(array, [place.to(names).astype(int) for place in places])
        shape = self.shapes.get(name.key[1:]) if name.gradient else None
        if shape is None or array.shape == shape:
            return array
        if ROWS.key in names:
            return array.reshape(shape)
        return unbroadcast(np.broadcast_to(array, np.broadcast_shapes(array.shape, shape)), shape)

    def length(self, index: str) -> int:
        """How far an index runs."""
        if index not in self.lengths:
            self.lengths[index] = int(self.value(index.upper()))
        return self.lengths[index]

    def is_index(self, name: str) -> bool:
        """Whether a letter is an index, and no value."""
        capital = name.upper() if len(name) == 1 and name.islower() else name
        return name not in {*self.known, *self.open, *CONSTANTS} and (
            name in self.lengths or capital in {*self.known, *self.open})

    def index(self, x: Expression) -> Axes:
        """The numbers of an index: 0, 1, ... for a letter, or whatever is computed."""
        if isinstance(x, Name) and self.is_index(x.key):
            return Axes(np.arange(float(self.length(x.key))), (x.key,))
        return self.of(x)

    def of(self, x: Expression) -> Axes:
        """The value of an expression."""
        match x:
            case Number(text):
                return Axes(np.asarray(float(text)))
            case Name():
                return self.index(x) if self.is_index(x.key) else Axes(self.value(x.key))
            case Indexed():
                return self.indexed(x)
            case Group(inner):
                return self.of(inner)
            case Negative(inner):
                return elementwise(np.negative, self.of(inner))
            case Sum(first, rest) | Product(first, rest):
                return self.chain(self.of(first), rest)
            case Fraction(above, below):
                return elementwise(divide, self.of(above), self.of(below))
            case Power(base, exponent):
                return elementwise(np.power, self.of(base), self.of(exponent))
            case Root(inner):
                return elementwise(np.sqrt, self.of(inner))
            case Truth(left, relation, right):
                return elementwise(RELATIONS[relation], self.of(left), self.of(right))
            case Transposed(inner):
                return Axes(np.atleast_2d(self.plain(inner)).swapaxes(-1, -2))
            case Mean(inner):
                return Axes(self.plain(inner).mean(-1, keepdims=True))
            case Reduced(what, index, inner):
                return self.reduced(what, index.key, self.of(inner))
            case Call(function, arguments):
                return self.called(function, arguments)
        raise InputError(f"a formula with {type(x).__name__.lower()} cannot be computed")

    def chain(self, total: Axes, rest: tuple[tuple[str, Expression], ...]) -> Axes:
        """Sums and products, from left to right."""
        for sign, x in rest:
            value = self.of(x)
            total = matrix_product(total, value) if sign == "·" else elementwise(OPERATIONS[sign], total, value)
        return total

    def plain(self, x: Expression) -> Array:
        """The value of an expression that has no indices."""
        value = self.of(x)
        if value.names:
            raise InputError(f"an index stands where whole arrays are needed: {value.names[0]}")
        return value.array

    def indexed(self, x: Indexed) -> Axes:
        """Elements of an array."""
        array, count = self.value(x.name.key), len(x.indices)
        if x.indices[0] == ROWS:
            array = array.reshape(-1, *array.shape[array.ndim - count + 1:])
        if array.ndim < count:
            raise InputError(f"{x.name.key} has {array.ndim} axes, too few for {count} indices")
        for index, length in zip(x.indices, array.shape[array.ndim - count:], strict=True):
            if isinstance(index, Name) and index.key not in {*self.known, *self.open}:
                runs = self.lengths.setdefault(index.key, length)
                if runs != length:
                    raise InputError(f"index {index.key} runs over {runs} numbers, and this axis has {length}")
        names, places = align([self.index(index) for index in x.indices])
        return Axes(array[(..., *(place.astype(int) for place in places))], names)

    def reduced(self, what: str, index: str, x: Axes) -> Axes:
        """A sum or a maximum over an index, which is then no longer an index of the result."""
        if index not in x.names:
            raise InputError(f"nothing under the {what} has the index {index}")
        rest = tuple(n for n in x.names if n != index)
        array = x.to((*rest, index))
        return Axes(array.sum(-1) if what == "sum" else array.max(-1), rest)

    def called(self, function: str, arguments: tuple[Expression, ...]) -> Axes:
        """A function that a statement defines, or a known one."""
        if function in self.functions:
            parameter, right = self.functions[function]
            outer, self.known = self.known, {**self.known, parameter: self.plain(arguments[0])}
            value = self.of(right)
            self.known = outer
            return value
        if function == "softmax":
            return Axes(softmax(self.plain(arguments[0])))
        if function not in FUNCTIONS:
            raise InputError(f"the formula does not say what {function} is")
        return elementwise(FUNCTIONS[function], *(self.of(x) for x in arguments))
