"""A place in a formula's text, and the tokens that follow it."""

import re

from minibert.errors import InputError

SPACE = re.compile(r"(?:\s|\\[,;])*")
TOKEN = re.compile(r"\\[a-zA-Z]+|\d+(?:\.\d+)?|[a-zA-Z]|[-+/^_{}()\[\]=<>,;]")
SINGLE = re.compile(r"\\[a-zA-Z]+|[a-zA-Z0-9]")  # what stands for a group without braces: \frac1H, x^2


class Scanner:
    """Takes tokens one after the other, without spaces."""

    def __init__(self, latex: str) -> None:
        self.latex = latex
        self.place = 0

    def error(self, wanted: str) -> InputError:
        """What was expected, and where."""
        return InputError(f"cannot read the formula {self.latex!r}: {wanted} expected at character {self.place + 1}, "
                          f"before {self.latex[self.place:self.place + 12]!r}")

    def next(self) -> str:
        """The next token, not taken; "" at the end."""
        space = SPACE.match(self.latex, self.place)
        assert space is not None
        self.place = space.end()
        token = TOKEN.match(self.latex, self.place)
        if token is None and self.place < len(self.latex):
            raise self.error("something else")
        return token.group() if token else ""

    def take(self, wanted: str = "") -> str:
        """The next token, which must be `wanted` where that is given."""
        token = self.next()
        if not token or (wanted and token != wanted):
            raise self.error(f"'{wanted}'" if wanted else "more")
        self.place += len(token)
        return token

    def end(self) -> None:
        """Raise InputError unless everything was read."""
        if self.next():
            raise self.error("the end")

    def word(self) -> str:
        """The text between braces."""
        self.take("{")
        end = self.latex.find("}", self.place)
        if end < 0:
            raise self.error("'}'")
        text, self.place = self.latex[self.place:end], end + 1
        return text.replace(r"\_", "_")

    def single(self) -> str:
        """The digit, letter or command that stands here instead of a group, not taken; "" if there is none."""
        self.next()
        single = SINGLE.match(self.latex, self.place)
        return single.group() if single else ""
