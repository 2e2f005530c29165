r"""Reads the restricted LaTeX of the registry into a tree, by recursive descent.

    formula    statement {"," statement}
    statement  sum ["=" sum | "\sim" sum]
    sum        ["-"] product {("+" | "-") product}
    product    factor {["\cdot" | "/"] factor}
    factor     ("\sum" | "\max") "_" index product  |  function factor  |  atom ["_" indices] ["^" exponent]
    atom       number, name, "(" sum ")", "[" sum relation sum "]", "\frac", "\sqrt", "\overline", function "(" ... ")"

Spaces mean nothing. A `d` directly before a name makes it the gradient of what it names, except among indices.
"""

from minibert.debug.formulas.scanner import Scanner
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

FUNCTIONS = {"max", "tanh", "ln", "erf", "softmax", "Phi", "phi", "Bernoulli"}
GREEK = {"gamma", "beta", "epsilon", "mu", "sigma", "pi", "ell", "Phi", "phi"}
ACCENTS = {"hat", "tilde"}
ENDS = {"", ")", "]", "}", "+", "-", "=", "<", ">", ",", ";", r"\sim", "/", r"\cdot"}


def parse(latex: str) -> list[Statement]:
    """The statements of a formula.  Raises InputError at what this notation does not have."""
    parser = Parser(latex)
    statements = [parser.statement()]
    while parser.next() == ",":
        parser.take(",")
        statements.append(parser.statement())
    parser.end()
    return statements


class Parser(Scanner):
    """A method for each rule of the grammar."""

    def __init__(self, latex: str) -> None:
        super().__init__(latex)
        self.indexing = False  # among indices a d is an index

    def statement(self) -> Statement:
        left = self.sum()
        if self.next() not in ("=", r"\sim"):
            return Statement(left)
        relation = "=" if self.take() == "=" else "~"
        return Statement(left, relation, self.sum())

    def sum(self) -> Expression:
        first = self.signed_product()
        rest = []
        while self.next() in ("+", "-"):
            rest.append((self.take(), self.product()))
        return Sum(first, tuple(rest)) if rest else first

    def signed_product(self) -> Expression:
        if self.next() == "-":
            self.take()
            return Negative(self.product())
        return self.product()

    def product(self) -> Expression:
        first = self.factor()
        rest = []
        while self.next() in ("/", r"\cdot") or self.next() not in ENDS:
            sign = {"/": "/", r"\cdot": "·"}.get(self.next(), "")
            if sign:
                self.take()
            rest.append((sign, self.factor()))
        return Product(first, tuple(rest)) if rest else first

    def factor(self) -> Expression:
        token = self.next()
        start = self.place
        if token in (r"\sum", r"\max"):
            self.take()
            if self.next() == "_":
                self.take()
                return self.reduced(token[1:])
            self.place = start
        x = self.atom()
        if self.next() == "_":
            if not isinstance(x, Name):
                raise self.error("no index of anything but a name")
            self.take()
            x = Indexed(x, self.indices())
        return self.raised(x)

    def reduced(self, what: str) -> Expression:
        index = self.group()
        if not isinstance(index, Name):
            raise self.error("an index that is one letter")
        return Reduced(what, index, self.product())

    def raised(self, x: Expression) -> Expression:
        if self.next() != "^":
            return x
        self.take()
        if self.next() == r"\top":
            self.take()
            return Transposed(x)
        return Power(x, self.group())

    def indices(self) -> tuple[Expression, ...]:
        """What stands below: one token, or any number of factors in braces."""
        before, self.indexing = self.indexing, True
        if self.next() == "{":
            self.take()
            found = [self.factor()]
            while self.next() != "}":
                found.append(self.factor())
            self.take()
        else:
            found = [self.group()]
        self.indexing = before
        return tuple(found)

    def group(self) -> Expression:
        """An expression in braces, or a single character or command without them."""
        if self.next() == "{":
            self.take()
            x = self.sum()
            self.take("}")
            return x
        single = self.single()
        if not single:
            raise self.error("a group in braces")
        if single.isdigit():
            self.place += 1
            return Number(single)
        return self.atom()

    def atom(self) -> Expression:
        token = self.next()
        if token[:1].isdigit():
            return Number(self.take())
        if token == "(":
            self.take()
            x = self.sum()
            self.take(")")
            return Group(x)
        if token == "[":
            return self.bracket()
        if token in (r"\frac", r"\tfrac"):
            self.take()
            return Fraction(self.group(), self.group())
        if token in (r"\sqrt", r"\overline"):
            self.take()
            return (Root if token == r"\sqrt" else Mean)(self.group())
        if token == r"\ldots":
            self.take()
            return Dots()
        if token == r"\text":
            self.take()
            return Words(self.word())
        return self.called(self.name())

    def bracket(self) -> Expression:
        """A relation, or arrays one after the other."""
        self.take("[")
        left = self.sum()
        if self.next() in ("=", "<", ">"):
            truth = Truth(left, self.take(), self.sum())
            self.take("]")
            return truth
        parts = [left]
        while self.next() == ";":
            self.take()
            parts.append(self.sum())
        self.take("]")
        return Blocks(tuple(parts))

    def name(self) -> Name:
        token = self.take()
        if token == "d" and not self.indexing and self.begins_name():
            inner = self.name()
            return Name(inner.base, inner.accent, gradient=True)
        if token[1:] in ACCENTS:
            accented = self.group()
            if not isinstance(accented, Name):
                raise self.error("a name under the accent")
            return Name(accented.base, token[1:])
        if token in (r"\mathrm", r"\operatorname"):
            return Name(self.word())
        if token.isalpha() or token[1:] in GREEK | FUNCTIONS:
            return Name(token.removeprefix("\\"))
        self.place -= len(token)
        raise self.error("a name")

    def begins_name(self) -> bool:
        token = self.next()
        return token.isalpha() or token[1:] in GREEK | ACCENTS or token == r"\mathrm"

    def called(self, name: Name) -> Expression:
        """A function with its arguments; any other name as it is."""
        if name.base not in FUNCTIONS or name.gradient or name.accent:
            return name
        if self.next() != "(":
            return Call(name.base, (self.factor(),), bare=True)
        self.take("(")
        arguments = [self.sum()]
        while self.next() == ",":
            self.take()
            arguments.append(self.sum())
        self.take(")")
        return Call(name.base, tuple(arguments))
