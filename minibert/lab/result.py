"""What an answer is worth, as text and as a piece of a page."""

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from minibert.debug.html import FONT, MUTED
from minibert.lab.declaring import Exercise

if TYPE_CHECKING:
    from minibert.lab.training import Training

COLOURS = {"passed": "#1a7f37", "open": "#57606a", "wrong": "#cf222e"}
WORDS = {"passed": "passed", "open": "is open", "wrong": "is not right yet"}
SIGNS = {"passed": "✓", "open": "○", "wrong": "✗"}


@dataclass(frozen=True, repr=False)
class Result:
    """state: "passed", "open" or "wrong"."""

    exercise: Exercise
    state: str
    lines: list[str]
    training: "Training | None" = field(default=None)

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.state == "passed"

    def __repr__(self) -> str:
        title = f"{SIGNS[self.state]} {self.exercise.number} {WORDS[self.state]}: {self.exercise.title}"
        return "\n".join([title, *("  " + line for line in self.lines)])

    def _repr_html_(self) -> str:
        colour = COLOURS[self.state]
        lines = "".join(f'<div style="white-space:pre-wrap">{escape(line)}</div>' for line in self.lines)
        picture = ""
        if self.training is not None:
            from minibert.lab.drawing import as_png

            data = b64encode(as_png(self.training.figure())).decode("ascii")
            picture = f'<img alt="loss curves" style="max-width:100%" src="data:image/png;base64,{data}">'
        return (f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:4px 0">'
                f'<div><b style="color:{colour}">{SIGNS[self.state]} {self.exercise.number} {WORDS[self.state]}</b> '
                f'<span style="color:{MUTED}">{escape(self.exercise.title)}</span></div>'
                f'<div style="{FONT};margin-top:4px">{lines}</div>{picture}</div>')
