"""What a run was asked for."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Of a step: batch, length, width, heads, vocabulary."""

    B: int = 32
    T: int = 128
    H: int = 768
    A: int = 12
    V: int = 30522


TOY = Sizes(B=2, T=14, H=15, A=3, V=67)


class Options(NamedTuple):
    """small: toy sizes; stand_in: no GPU, but tests/gpu/driver, on which no time means anything."""

    small: bool = False
    stand_in: bool = False

    @property
    def sizes(self) -> Sizes:
        """BERT-base's, unless small."""
        return TOY if self.small else Sizes()

    @property
    def flags(self) -> list[str]:
        """The same options on a command line."""
        return [*(["--small"] if self.small else []), *(["--stand-in"] if self.stand_in else [])]
