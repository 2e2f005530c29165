"""The shape of a training step: six numbers that decide how much there is to compute."""

from dataclasses import asdict, astuple, dataclass
from typing import Self

from minibert.errors import InputError
from minibert.models.config import PRESETS

MASKED_SHARE = 0.15  # of the positions: Devlin et al. 2019, section 3.1
POSITIONS = 512  # BERT's table of position embeddings
FIRST_WORD = 5  # the ids below are those of the special tokens


@dataclass(frozen=True)
class Shape:
    """L layers of width H with A heads, V words; a step reads B sequences of T tokens.  Feed-forward width F = 4 H.

    Raises InputError when there is no such BERT.
    """

    layers: int = 4
    hidden: int = 256
    heads: int = 4
    vocabulary: int = 8192
    batch: int = 32
    length: int = 128

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = FIRST_WORD + 1 if name == "vocabulary" else 1
            if value < least:
                raise InputError(f"--shape: {name} must be at least {least}, not {value}")
        if self.hidden % self.heads:
            raise InputError(f"--shape: hidden {self.hidden} is not divisible by heads {self.heads}: every head gets "
                             f"an equal slice of the hidden vector")
        if self.length > POSITIONS:
            raise InputError(f"--shape: length must be at most {POSITIONS}, the positions that BERT has, "
                             f"not {self.length}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """A published size with BERT's own vocabulary, on a batch that leaves room for the peers."""
        layers, hidden, heads = PRESETS[name]
        return cls(layers, hidden, heads, vocabulary=30522, batch=16, length=128)

    @property
    def width(self) -> int:
        """F, the width of the feed-forward layers."""
        return 4 * self.hidden

    @property
    def tokens(self) -> int:
        """Positions of a step."""
        return self.batch * self.length

    @property
    def masked(self) -> int:
        """M, the positions of a step whose word is to be guessed: as many in every sequence."""
        return self.batch * max(1, round(MASKED_SHARE * self.length))

    @property
    def numbers(self) -> tuple[int, ...]:
        """L, H, A, V, B, T."""
        return astuple(self)

    def __str__(self) -> str:
        plural = "s" if self.layers > 1 else ""
        return (f"BERT of {self.layers} layer{plural}, width {self.hidden}, {self.heads} heads, "
                f"{self.vocabulary:,} words; batch {self.batch} x {self.length} tokens")
