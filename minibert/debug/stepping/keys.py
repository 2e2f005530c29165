"""Single keys from a terminal, without Enter."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    import termios
    import tty
except ImportError:  # Windows: commands are lines there
    termios = None  # type: ignore[assignment]

ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
END = "end"  # the terminal is closed, or Ctrl-D
TURN = 0.2  # seconds
PATIENCE = 0.05  # seconds in which the rest of an arrow key follows its first byte


def has_keys(stdin: Any, stdout: Any) -> bool:
    """Whether both are a terminal whose keys can be read one by one and whose lines can be drawn again."""
    return termios is not None and stdin.isatty() and stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def answering(number: int, handler: Callable[..., None]) -> Iterator[None]:
    """A signal's handler inside the block; only a program's main thread can have one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class Keyboard:
    """A terminal that hands over each key at once, and does not show it, while it is held."""

    def __init__(self, stdin: Any) -> None:
        self.stdin = stdin
        self.descriptor = stdin.fileno()
        self._usual: list[Any] = []  # the terminal's settings while it is not held

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever ends the block, an error, Ctrl-C or `kill`, the terminal is as it was before."""
        self._usual = termios.tcgetattr(self.descriptor)

        def hold(*_: Any) -> None:
            tty.setcbreak(self.descriptor, termios.TCSADRAIN)

        def leave(number: int, _: Any) -> None:
            sys.exit(128 + number)  # what shells report for a process that this signal ended

        try:
            with answering(signal.SIGCONT, hold), answering(signal.SIGTERM, leave):  # CONT: back from Ctrl-Z
                hold()
                yield
        finally:
            termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._usual)

    def key(self) -> str:
        """The next key: a letter, the name of an arrow, END, or "" for one without a meaning here."""
        self._wait()
        byte = self._byte()
        if byte in (b"", b"\x04"):
            return END
        if byte == b"\x1b" and self._ready():
            return self._escape_sequence()
        return byte.decode("ascii", "ignore")

    def line(self) -> str:
        """A line, shown and edited as usual, without its end."""
        with self._released():
            self._wait()
            line: str = self.stdin.readline()
        return line.strip()

    @contextmanager
    def _released(self) -> Iterator[None]:
        """Inside a held one: as without any."""
        single = termios.tcgetattr(self.descriptor)
        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._usual)
        try:
            yield
        finally:
            termios.tcsetattr(self.descriptor, termios.TCSADRAIN, single)

    def _wait(self) -> None:
        """Until there is something to read; in short turns, because a signal may be handed to a thread of BLAS, and
        Python answers it only when this one moves."""
        while not self._ready(TURN):
            pass

    def _escape_sequence(self) -> str:
        """What stands behind an escape: the arrows are ESC [ C or ESC O C, with numbers between if Ctrl is held."""
        if self._byte() not in (b"[", b"O"):
            return ""
        while self._ready():
            byte = self._byte()
            if byte.isalpha() or byte in (b"~", b""):
                return ARROWS.get(byte.decode("ascii", "ignore"), "")
        return ""

    def _byte(self) -> bytes:
        return os.read(self.descriptor, 1)

    def _ready(self, seconds: float = PATIENCE) -> bool:
        return bool(select.select([self.descriptor], [], [], seconds)[0])
