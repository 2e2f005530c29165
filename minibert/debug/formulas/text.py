"""Formulas as lines of Unicode."""

from typing import Any

from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.tree import (
    Blocks,
    Call,
    Dots,
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
    Words,
)

SYMBOLS = {"gamma": "\u03b3", "beta": "β", "epsilon": "ε", "mu": "μ", "sigma": "\u03c3", "pi": "π", "ell": "\u2113",
           "Phi": "Φ", "phi": "φ"}  # those that the eye may take for Latin letters are escaped
ACCENTS = {"hat": "\u0302", "tilde": "\u0303"}  # combined with the letter before
RAISED = {"2": "²", "3": "³"}
MINUS = "\u2212"
SIGNS = {"-": MINUS, "~": "\u223c"}


def as_text(latex: str) -> str:
    """One line of Unicode.  Raises InputError for what the notation of the registry does not have."""
    return ", ".join(statement_text(statement) for statement in parse(latex))


def statement_text(statement: Statement) -> str:
    """One statement."""
    if statement.right is None:
        return text(statement.left)
    return f"{text(statement.left)} {SIGNS.get(statement.relation, statement.relation)} {text(statement.right)}"


def text(x: Expression) -> str:
    """An expression."""
    match x:
        case Number(digits):
            return digits
        case Name():
            return name_text(x)
        case Words(words):
            return words
        case Dots():
            return "…"
        case Indexed(name, indices):
            return f"{name_text(name)}_{below(indices)}"
        case Group(inner):
            return f"({text(inner)})"
        case Negative(inner):
            return MINUS + text(inner)
        case Sum(first, rest):
            return text(first) + "".join(f" {SIGNS.get(sign, sign)} {text(term)}" for sign, term in rest)
        case Product(first, rest):
            return product_text([("", first), *rest])
        case Fraction(above, denominator):
            return fraction_text(above, denominator)
        case Power(base, exponent):
            return closed(base, Fraction) + raised(text(exponent))
        case Transposed(inner):
            return f"{text(inner)}ᵀ"
        case Root(inner):
            return f"√{tight(inner)}"
        case Mean(inner):
            return f"mean({text(inner)})"
        case Reduced(what, index, inner):
            return f"{'∑' if what == 'sum' else what}_{name_text(index)} {text(inner)}"
        case Call(function, arguments, bare):
            inside = closed(arguments[0], Fraction) if bare else ", ".join(map(text, arguments))
            return f"{SYMBOLS.get(function, function)}{' ' + inside if bare else f'({inside})'}"
        case Truth(left, relation, right):
            return f"[{text(left)} {relation} {text(right)}]"
        case Blocks(parts):
            return f"[{'; '.join(map(text, parts))}]"


def name_text(x: Name) -> str:
    """A letter with its accent, after a d if it is a gradient."""
    return ("d" if x.gradient else "") + SYMBOLS.get(x.base, x.base) + ACCENTS.get(x.accent, "")


def below(indices: tuple[Expression, ...]) -> str:
    """Indices; in braces where they are more than one character."""
    single = all(isinstance(index, Name | Group) for index in indices)
    inside = ("" if single else " ").join(compact(index) for index in indices)
    return inside if len(inside) == 1 else f"{{{inside}}}"


def compact(index: Expression) -> str:
    """An index, its products without spaces: aD + d."""
    match index:
        case Group(inner):
            return f"({compact(inner)})"
        case Sum(first, rest):
            return compact(first) + "".join(f" {SIGNS.get(sign, sign)} {compact(term)}" for sign, term in rest)
        case Product(first, rest):
            return compact(first) + "".join(sign + compact(factor) for sign, factor in rest)
    return text(index)


def product_text(factors: list[tuple[str, Expression]]) -> str:
    """Factors with a space between them; a fraction among others in parentheses, unless it is a half."""
    line = ""
    for sign, factor in factors:
        piece = text(factor)
        if isinstance(factor, Fraction) and piece != "½":
            piece = f"({piece})"
        line += f" {sign} {piece}" if sign else f" {piece}"
    return line.strip()


def fraction_text(above: Expression, denominator: Expression) -> str:
    """One after the other, with the parentheses that a line of text needs."""
    if (above, denominator) == (Number("1"), Number("2")):
        return "½"
    top = closed(above, Sum | Fraction)
    bottom = closed(denominator, Sum | Product | Fraction | Negative)
    close = isinstance(above, Number) and isinstance(denominator, Name | Number)
    return f"{top}/{bottom}" if close else f"{top} / {bottom}"


def raised(exponent: str) -> str:
    """A superscript where Unicode has one, and ^ where it has none."""
    if exponent in RAISED:
        return RAISED[exponent]
    return f"^{exponent}" if len(exponent) == 1 else f"^{{{exponent}}}"


def closed(x: Expression, kinds: Any) -> str:
    """In parentheses, if it is one of these kinds."""
    return f"({text(x)})" if isinstance(x, kinds) else text(x)


def tight(x: Expression) -> str:
    """In parentheses, unless it is one letter or number."""
    return text(x) if isinstance(x, Name | Number) else f"({text(x)})"
