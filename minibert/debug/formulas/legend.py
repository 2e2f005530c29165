"""What a reader has to be told of the notation: those signs of it that a formula uses."""

from typing import Any

from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.tree import Indexed, Mean, Name, Number, Product, Truth, walk

ROWS = Name("n")  # the index that numbers all the axes in front


def legend(*formulas: str) -> list[str]:
    """A line for each sign that means something particular here."""
    statements = tuple(statement for formula in formulas for statement in parse(formula))
    return list(dict.fromkeys(line for x in walk(statements) if (line := explained(x))))


def explained(x: Any) -> str:
    """The line for one part of a formula; "" for what needs none."""
    match x:
        case Indexed(_, indices) if indices[0] == ROWS:
            return "n: numbers the axes that have no other index, all as one, in row-major order"
        case Product(_, rest) if any(sign == "·" and not isinstance(factor, Number) for sign, factor in rest):
            return "·: the product of matrices, over the last two axes"
        case Mean():
            return "mean (a line above): over the last axis"
        case Truth():
            return "[ ]: 1 where this holds, 0 elsewhere"
    return ""
