"""Formulas as presentation MathML, which browsers draw without any library."""

from html import escape

from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.text import MINUS, SIGNS, SYMBOLS
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

ACCENTS = {"hat": "^", "tilde": "~"}
LINE_ABOVE = "border-top:1px solid;padding-top:1px"  # a stretched sign needs a font that few machines have
THIN = '<mspace width="0.17em"/>'
WIDE = '<mo>,</mo><mspace width="1em"/>'


def as_mathml(latex: str) -> str:
    """A `math` element.  Raises InputError for what the notation of the registry does not have."""
    return math(WIDE.join(statement_mathml(statement) for statement in parse(latex)))


def math(inside: str) -> str:
    """An element that stands in a line, with the signs as large as in a line of their own."""
    return f'<math displaystyle="true">{inside}</math>'


def statement_mathml(statement: Statement) -> str:
    """One statement, without the `math` around it."""
    if statement.right is None:
        return mathml(statement.left)
    relation = operator(SIGNS.get(statement.relation, statement.relation))
    return mathml(statement.left) + relation + mathml(statement.right)


def mathml(x: Expression) -> str:
    """An expression as one element, or as several in a row."""
    match x:
        case Number(digits):
            return f"<mn>{digits}</mn>"
        case Name():
            return name_mathml(x)
        case Words(words):
            return f"<mtext>{escape(words)}</mtext>"
        case Dots():
            return operator("…")
        case Indexed(name, indices):
            return f"<msub>{row(name_mathml(name))}{row(''.join(map(mathml, indices)))}</msub>"
        case Group(inner):
            return fenced("(", mathml(inner), ")")
        case Negative(inner):
            return f'<mo form="prefix">{MINUS}</mo>{mathml(inner)}'
        case Sum(first, rest):
            return mathml(first) + "".join(operator(SIGNS.get(sign, sign)) + mathml(term) for sign, term in rest)
        case Product(first, rest):
            return mathml(first) + "".join((operator(sign) if sign else THIN) + mathml(f) for sign, f in rest)
        case Fraction(above, below):
            return f"<mfrac>{row(mathml(above))}{row(mathml(below))}</mfrac>"
        case Power() | Transposed():
            return raised(x)
        case Root(inner):
            return f"<msqrt>{mathml(inner)}</msqrt>"
        case Mean(inner):
            return f'<mrow style="{LINE_ABOVE}">{mathml(inner)}</mrow>'
        case Reduced(what, index, inner):
            sign = operator("∑") if what == "sum" else f"<mo movablelimits=\"true\">{what}</mo>"
            return f"<munder>{sign}{mathml(index)}</munder>{THIN}{mathml(inner)}"
        case Call(function, arguments, bare):
            inside = "<mo>,</mo>".join(map(mathml, arguments))
            return symbol(function) + (THIN + inside if bare else fenced("(", inside, ")"))
        case Truth(left, relation, right):
            return fenced("[", mathml(left) + operator(relation) + mathml(right), "]")
        case Blocks(parts):
            return fenced("[", "<mo>;</mo>".join(map(mathml, parts)), "]")


def raised(x: Power | Transposed) -> str:
    """Something with an exponent, which stands above an index if there is one."""
    base, above = (x.x, "<mo>&#x22A4;</mo>") if isinstance(x, Transposed) else (x.base, row(mathml(x.exponent)))
    if isinstance(base, Indexed):
        return f"<msubsup>{row(name_mathml(base.name))}{row(''.join(map(mathml, base.indices)))}{above}</msubsup>"
    return f"<msup>{row(mathml(base))}{above}</msup>"


def name_mathml(x: Name) -> str:
    """A letter with its accent, after a d if it is a gradient."""
    letter = symbol(x.base)
    if x.accent:
        letter = f'<mover accent="true">{letter}<mo stretchy="false">{ACCENTS[x.accent]}</mo></mover>'
    return f'<mi mathvariant="normal">d</mi>{letter}' if x.gradient else letter


def symbol(name: str) -> str:
    """A letter, which browsers slant, or a word."""
    return f"<mi>{escape(SYMBOLS.get(name, name))}</mi>"


def operator(sign: str) -> str:
    """A sign, with the space that MathML gives it."""
    return f"<mo>{escape(sign)}</mo>"


def fenced(left: str, inside: str, right: str) -> str:
    """Something between brackets that grow with it."""
    return f"<mrow><mo>{left}</mo>{inside}<mo>{right}</mo></mrow>"


def row(inside: str) -> str:
    """What has to be one element."""
    return f"<mrow>{inside}</mrow>"
