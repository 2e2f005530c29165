"""Sessions through a pipe, and through a terminal that is as it was before when they end."""

import io
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from models.toys import toy_batch, toy_model

import minibert
from minibert.debug.stepping import Stepper, step
from minibert.debug.stepping.keys import Keyboard
from minibert.debug.stepping.terminal import obey, walk

ROOT = Path(minibert.__file__).parents[1]
COMMAND = """
import sys
from argparse import ArgumentParser
from minibert.debug.commands.step import add_step
parser = ArgumentParser()
add_step(parser.add_subparsers())
options = parser.parse_args()
sys.exit(options.run(options))
"""
RIGHT, LEFT, LEFT_TOO, UP, DOWN = "\033[C", "\033[D", "\033OD", "\033[A", "\033[B"


@pytest.fixture
def toy() -> Stepper:
    return step(toy_model().train()(**toy_batch()).loss)


def test_a_scripted_session_goes_where_it_is_told(toy: Stepper) -> None:
    output = io.StringIO()
    walk(toy, io.StringIO("n\n\nb\nu attention\nu backward attention\ng 5\nq\nn\n"), output)
    titles = re.findall(r"^step .*$", output.getvalue(), re.MULTILINE)
    assert titles == ["step 1 of 88   forward   embedding", "step 2 of 88   forward   embedding",
                      "step 3 of 88   forward   add", "step 2 of 88   forward   embedding",
                      "step 14 of 88   forward   attention", "step 62 of 88   backward   attention",
                      "step 5 of 88   forward   add"]
    assert "\033" not in output.getvalue()
    assert toy.number == 5


def test_the_end_of_the_input_ends_the_session(toy: Stepper) -> None:
    output = io.StringIO()
    walk(toy, io.StringIO("n"), output)
    assert toy.number == 2


@pytest.mark.parametrize(("command", "answer"), [
    ("b", "this is the first step"), ("g 89", "there is no step 89"), ("g five", "number of a step, not 'five'"),
    ("u nothing", "no operation and no module 'nothing'"), ("u", "until what"), ("v 0;1", "cannot read '0;1'"),
    ("x", "there is no command 'x'"), ("next", "there is no command 'next'"), ("?", "right, Enter")])
def test_what_cannot_be_done_is_said_and_changes_nothing(command: str, answer: str, toy: Stepper) -> None:
    assert answer in "\n".join(line.text for line in obey(toy, command))
    assert toy.number == 1 and toy.view == ()


def test_check_and_view(toy: Stepper) -> None:
    assert obey(toy, "u linear") == obey(toy, "v 0, :4") == []
    assert toy.view == (0, slice(None, 4))
    lines = obey(toy, "c")
    assert [line.text.split()[:2] for line in lines[1:]] == [["dx", "ok"], ["dweight", "ok"], ["dbias", "ok"]]
    assert lines[0].text.endswith("ok") and max(len(line.text) for line in lines) <= 80
    assert obey(toy, "v") == [] and toy.view == ()


class Terminal:
    """The command in a pseudo-terminal, and the screen that it has drawn."""

    def __init__(self, run: Path, lines: int, *flags: str) -> None:
        import fcntl
        import pty
        import termios

        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        control = ("import fcntl, signal, termios\n"  # so that Ctrl-C reaches it, also when tests run in the background
                   "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n")
        self.process = subprocess.Popen(
            [sys.executable, "-c", control + COMMAND, "step", str(run), *flags], stdin=self.slave, stdout=self.slave,
            stderr=self.slave, start_new_session=True, env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm"})
        self.output = ""

    def wait_for(self, pattern: str) -> str:
        """Everything that is written until the pattern comes."""
        begin, end = len(self.output), time.monotonic() + 60
        while not re.search(pattern, self.output[begin:]):
            assert time.monotonic() < end, self.output[begin:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 65536).decode()
        return self.output[begin:]

    def press(self, keys: str, until: str = "q quit") -> str:
        os.write(self.master, keys.encode())
        return self.wait_for(until)

    def screen(self) -> list[str]:
        """The lines as they stand after all that was written, for those sequences that it uses."""
        rows, row, column = [""], 0, 0
        for part in re.findall(r"\033\[\d*[A-Za-z]|[\r\n]|[^\033\r\n]+", self.output):
            if part == "\n":
                row, rows = row + 1, [*rows, ""] if row + 1 == len(rows) else rows
            elif part == "\r":
                column = 0
            elif part.endswith("A") and part.startswith("\033"):
                row -= int(part[2:-1])
            elif part == "\033[J":
                rows = [*rows[:row], rows[row][:column]]
            elif part == "\033[K":
                rows[row] = rows[row][:column]
            elif not part.startswith("\033"):
                rows[row] = rows[row][:column] + part + rows[row][column + len(part):]
                column += len(part)
        return rows

    def restored(self) -> bool:
        """Wait for the end, and compare the terminal's settings."""
        import termios

        self.code = self.process.wait(30)
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(run: Path) -> Iterator[Terminal]:
    pytest.importorskip("termios")
    terminal = Terminal(run, 24)
    terminal.wait_for("q quit")
    yield terminal
    terminal.close()


def titles(terminal: Terminal) -> list[str]:
    return [line for line in terminal.screen() if line.startswith("step ")]


def test_arrow_keys_walk_and_each_event_replaces_the_one_before(terminal: Terminal) -> None:
    assert [title[:9] for title in titles(terminal)] == ["step 1 of"]
    for key, number in ((RIGHT, 2), ("n", 3), (" ", 4), (LEFT, 3), (LEFT_TOO, 2), ("b", 1), ("b", 1)):
        terminal.press(key)
        assert [title.split()[1] for title in titles(terminal)] == [str(number)]
    assert any("this is the first step" in line for line in terminal.screen())
    terminal.press("u", "until: ")
    terminal.press("backward attention\n")
    assert [title.split()[4:] for title in titles(terminal)] == [["backward", "attention"]]
    terminal.press("c")
    assert any("numerically, in float64: ok" in line for line in terminal.screen())
    terminal.press("v", "view: ")
    terminal.press("0, 1, 2:4\n")
    assert any("[0, 1, 2:4, 0:" in line for line in terminal.screen())
    for key, above in ((DOWN, 12), (UP, 0)):
        terminal.press(key)
        assert any(f"... {above} lines above (up)" in line for line in terminal.screen())
        assert bool(titles(terminal)) == (above == 0)
    os.write(terminal.master, b"q")
    assert terminal.restored() and terminal.code == 0


def test_lines_fit_the_window(terminal: Terminal) -> None:
    while "last step" not in terminal.press(RIGHT):
        rows = terminal.screen()
        assert max(map(len, rows[1:])) <= 80  # the first line names the folder
        assert len(rows[3:]) <= 24  # what the command printed first may scroll away
    ups = [int(n) for n in re.findall(r"\033\[(\d+)A", terminal.output)]
    assert len(ups) > 50 and max(ups) < 24
    assert "\033[1m" in terminal.output  # there are colours


@pytest.mark.parametrize(("keys", "code"), [("\x04", 0), ("\x03", -signal.SIGINT), ("u\x03", -signal.SIGINT)])
def test_the_terminal_is_restored_however_it_ends(keys: str, code: int, terminal: Terminal) -> None:
    for key in keys:
        os.write(terminal.master, key.encode())
        time.sleep(0.2)
    assert terminal.restored()
    assert terminal.code == code


@pytest.fixture
def keyboard() -> Iterator[tuple[Keyboard, int]]:
    """A keyboard, and where its keys are written."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        yield Keyboard(stdin), master
    os.close(master)


def test_the_terminal_is_restored_after_an_error(keyboard: tuple[Keyboard, int]) -> None:
    import termios

    board = keyboard[0]
    before = termios.tcgetattr(board.descriptor)
    with pytest.raises(ZeroDivisionError), board.held():
        assert not termios.tcgetattr(board.descriptor)[3] & (termios.ICANON | termios.ECHO)
        assert 1 // 0
    assert termios.tcgetattr(board.descriptor) == before


def test_the_terminal_is_restored_when_the_process_is_ended(terminal: Terminal) -> None:
    terminal.process.terminate()
    assert terminal.restored()
    assert terminal.code == 128 + signal.SIGTERM


def test_keys_are_read_again_after_a_pause(terminal: Terminal) -> None:
    """A shell sets the terminal to its own liking while the process is stopped."""
    import termios

    terminal.process.send_signal(signal.SIGSTOP)
    termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)
    terminal.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + 30
    while termios.tcgetattr(terminal.slave) == terminal.before:
        assert time.monotonic() < end
        time.sleep(0.01)
    terminal.press("n")
    assert [title.split()[1] for title in titles(terminal)] == ["2"]


def test_keys_have_names(keyboard: tuple[Keyboard, int]) -> None:
    board, master = keyboard
    with board.held():
        os.write(master, b"n\033[C\033OD\033[1;5A\033[B\033[3~\033xq \xc3\xa9?\004")
        keys = [board.key() for _ in range(13)]
        os.write(master, b"backward linear \n")
        assert board.line() == "backward linear"
        os.write(master, b"\033")
        assert board.key() not in ("n", "q", "right")  # Escape alone does nothing, and does not wait
    assert keys == ["n", "right", "left", "up", "down", "", "", "q", " ", "", "", "?", "end"]
