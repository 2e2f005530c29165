"""What a formula is made of, once it has been read."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Number:
    """Digits, as they were written."""

    text: str


@dataclass(frozen=True)
class Name:
    """A letter, a Greek letter or a word; with an accent, and with a d in front if it is a gradient."""

    base: str
    accent: str = ""  # "hat" or "tilde"
    gradient: bool = False

    @property
    def key(self) -> str:
        """The name as code spells it: dxhat for the gradient of x with a hat."""
        return ("d" if self.gradient else "") + self.base + self.accent


@dataclass(frozen=True)
class Indexed:
    """A name with indices: x_{ij}."""

    name: Name
    indices: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Sum:
    """first + term - term ...: signs and terms."""

    first: "Expression"
    rest: "tuple[tuple[str, Expression], ...]"


@dataclass(frozen=True)
class Product:
    """first factor / factor . factor: between factors stands "" (elementwise), "/" or "·" (of matrices)."""

    first: "Expression"
    rest: "tuple[tuple[str, Expression], ...]"


@dataclass(frozen=True)
class Negative:
    """-x."""

    x: "Expression"


@dataclass(frozen=True)
class Fraction:
    """One expression above another."""

    above: "Expression"
    below: "Expression"


@dataclass(frozen=True)
class Power:
    """base^exponent."""

    base: "Expression"
    exponent: "Expression"


@dataclass(frozen=True)
class Transposed:
    """A matrix with its last two axes exchanged."""

    x: "Expression"


@dataclass(frozen=True)
class Root:
    """The square root."""

    x: "Expression"


@dataclass(frozen=True)
class Mean:
    """The mean over the last axis, which stays as an axis of length 1; written with a line above."""

    x: "Expression"


@dataclass(frozen=True)
class Reduced:
    """A "sum" or "max" over an index."""

    what: str
    index: Name
    x: "Expression"


@dataclass(frozen=True)
class Call:
    """A function of arguments; `bare` where one argument follows without parentheses, as in ln x."""

    function: str
    arguments: "tuple[Expression, ...]"
    bare: bool = False


@dataclass(frozen=True)
class Truth:
    """Iverson's bracket: 1 where the relation holds, 0 elsewhere."""

    left: "Expression"
    relation: str
    right: "Expression"


@dataclass(frozen=True)
class Group:
    """An expression in parentheses."""

    x: "Expression"


@dataclass(frozen=True)
class Blocks:
    """Arrays one after the other: [x_1; x_2; ...]."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Dots:
    """And so on."""


@dataclass(frozen=True)
class Words:
    """Something said in words."""

    text: str


Expression: TypeAlias = (Number | Name | Indexed | Sum | Product | Negative | Fraction | Power | Transposed | Root
                         | Mean | Reduced | Call | Truth | Group | Blocks | Dots | Words)


@dataclass(frozen=True)
class Statement:
    """left = right; relation "~" where left is drawn from a distribution, "" where there is only a left side."""

    left: Expression
    relation: str = ""
    right: Expression | None = None


def walk(x: Any) -> Iterator[Any]:
    """x and everything inside it."""
    if isinstance(x, tuple):
        for part in x:
            yield from walk(part)
    elif is_dataclass(x):
        yield x
        for field in fields(x):
            yield from walk(getattr(x, field.name))
