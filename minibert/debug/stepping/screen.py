"""The lower part of a terminal, drawn again in its place for each event."""

import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minibert.debug.show import has_colour, paint
from minibert.debug.stepping.event import Event
from minibert.debug.stepping.text import GUTTER, Line, event_lines
from minibert.debug.stepping.view import CHOSEN_ROWS, CORNER

LONGEST_LINE = 100
BAR = "n next  b back  u until  c check  v view  g go  ? help  q quit"


class Screen:
    """What is drawn never has more lines than the window, so that it can be found and replaced."""

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout
        self.drawn = 0  # lines above the cursor that belong to it
        self.top = 0  # the first line of the event that is shown, of one that is too long

    def draw(self, event: Event, message: list[Line]) -> None:
        """The event, with fewer numbers where the window is low, then the message, then the keys."""
        size = shutil.get_terminal_size((80, 24))
        width = min(size.columns, LONGEST_LINE) - 1  # a full line would wrap in some terminals
        below = [Line(part, line.style) for line in message for part in textwrap.wrap(
            line.text, width, subsequent_indent=" " * GUTTER, drop_whitespace=False, replace_whitespace=False) or [""]]
        height = max(size.lines - 1, 2)
        below = below[:height - 1]
        lines = self._fitting(event, width, height - len(below)) + below
        colour = has_colour(self.stdout)
        text = "".join(paint(line.text[:width], line.style, colour and bool(line.style)) + "\n" for line in lines)
        self.stdout.write(f"{self._back()}{text}{paint(BAR[:width], 'dim', colour)}")
        self.stdout.flush()
        self.drawn = len(lines)

    def scroll(self, down: bool) -> None:
        """Show the part of a long event that follows, or the one before."""
        step = max(shutil.get_terminal_size((80, 24)).lines // 2, 1)
        self.top = max(self.top + (step if down else -step), 0)

    def ask(self, question: str) -> None:
        """In the place of the keys; an answer ends with Enter, which takes the cursor one line down."""
        self.stdout.write(f"\r\033[K{question}")
        self.stdout.flush()
        self.drawn += 1

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever ends the block, the last event stays, and what is written next stands below it."""
        try:
            yield
        finally:
            self.stdout.write("\r\033[K")
            self.stdout.flush()

    def _back(self) -> str:
        """To the first line that was drawn, and clear from there on."""
        up = f"\033[{self.drawn}A" if self.drawn else ""
        return f"\r{up}\033[J"

    def _fitting(self, event: Event, width: int, height: int) -> list[Line]:
        """The event with as many rows of its numbers as fit; if it is still too long, a part of it."""
        least = 0 if event.view == CORNER else 2  # somebody wants to see these
        for rows in range(CHOSEN_ROWS, least - 1, -1):
            lines = event_lines(event, width, rows)
            if len(lines) <= height:
                self.top = 0
                return lines
        room = max(height - 1, 0)
        self.top = min(self.top, len(lines) - room)
        hint = f"... {self.top} lines above (up), {len(lines) - self.top - room} below (down)"
        return [*lines[self.top:self.top + room], Line(hint, "dim")][:height]
