"""The walk in a terminal: keys where there are some, otherwise a command a line."""

import sys
from collections.abc import Iterator
from typing import Any

from minibert.debug.show import has_colour, paint
from minibert.debug.stepping.keys import END, Keyboard, has_keys
from minibert.debug.stepping.screen import Screen
from minibert.debug.stepping.stepper import Stepper
from minibert.debug.stepping.text import Line, event_lines, report_lines
from minibert.errors import InputError

KEYS = {"right": "n", " ": "n", "\n": "n", "\r": "n", "left": "b", END: "q", "up": "up", "down": "down"}
ASKS = {"u": "until: ", "v": "view: ", "g": "go to step: "}  # letters that a line follows
HELP = """\
n, right, Enter   next operation          b, left   the one before
u CONDITION       go on until attention | encoder.layer.1 | layer 1 | nan |
                  norm>10 | backward, or several of them: backward attention
v SLICE           which numbers to show, such as 0, :4 (nothing: a corner)
g NUMBER          go to a step            c         check this gradient
?  this help      q  quit                 up, down  the rest of a long step"""


def walk(stepper: Stepper, stdin: Any = None, stdout: Any = None) -> None:
    """Let a person, or lines from a pipe, go through the walk, until they quit or the input ends."""
    stdin, stdout = stdin or sys.stdin, stdout or sys.stdout
    if has_keys(stdin, stdout):
        _walk_by_keys(stepper, stdin, stdout)
    else:
        _walk_by_lines(stepper, stdin, stdout)


def obey(stepper: Stepper, command: str) -> list[Line]:
    """Do what a command other than q says; what there is to say about it, apart from the event."""
    letter, _, rest = command.partition(" ")
    try:
        if letter in ("", "n") and not rest:
            stepper.next()
        elif letter == "b" and not rest:
            stepper.back()
        elif letter == "u":
            stepper.until(rest)
        elif letter == "g":
            stepper.go(_whole(rest))
        elif letter == "v":
            stepper.view = rest
        elif letter == "c" and not rest:
            return report_lines(stepper.check())
        elif letter == "?":
            return [Line(line) for line in HELP.splitlines()]
        else:
            raise InputError(f"there is no command {command!r}: ? shows them all")
    except InputError as error:
        return [Line(str(error), "red")]
    return []


def print_lines(lines: list[Line], stdout: Any) -> None:
    """Each line in its colour, if there are any, and an empty one."""
    colour = has_colour(stdout)
    for line in [*lines, Line("")]:
        print(paint(line.text, line.style, colour and bool(line.style)), file=stdout)
    stdout.flush()


def _walk_by_lines(stepper: Stepper, stdin: Any, stdout: Any) -> None:
    print_lines(event_lines(stepper.event), stdout)
    for command in _typed(stdin, stdout):
        if command == "q":
            return
        message = obey(stepper, command)
        print_lines(message or event_lines(stepper.event), stdout)


def _typed(stdin: Any, stdout: Any) -> Iterator[str]:
    """Lines, asked for where somebody sits in front of it."""
    while True:
        if stdin.isatty():
            print("n b u c v g ? q: ", end="", file=stdout, flush=True)
        line = stdin.readline()
        if not line:
            return
        yield line.strip()


def _walk_by_keys(stepper: Stepper, stdin: Any, stdout: Any) -> None:
    keyboard, screen = Keyboard(stdin), Screen(stdout)
    message: list[Line] = []
    with keyboard.held(), screen.kept():
        while True:
            screen.draw(stepper.event, message)
            key = keyboard.key()
            command = KEYS.get(key, key)
            if command == "q":
                return
            if command in ("up", "down"):
                screen.scroll(down=command == "down")
                continue
            if command in ASKS:
                screen.ask(ASKS[command])
                command += " " + keyboard.line()
            message = obey(stepper, command) if command else message
            screen.top = 0


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"g takes the number of a step, not {text!r}") from None
