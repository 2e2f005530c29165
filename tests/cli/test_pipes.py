"""Standard output may be closed early, or be a terminal that lacks letters: neither is a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import in_process


@pytest.mark.parametrize(("command", "unbuffered"), [
    (("fill-mask", "{run}", "bama [MASK]"), ""), (("fill-mask", "{run}", "bama [MASK]"), "1"),
    (("evaluate", "{run}"), ""), (("lint", "{corpus}"), "1")])
def test_a_reader_who_has_left_is_no_traceback(command: tuple[str, ...], unbuffered: str, run: Path,
                                               corpus: Path) -> None:
    """As with `| head -1`, but sure to be closed when the first line is written."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "minibert", *(part.format(run=run, corpus=corpus) for part in command)],
            stdout=writer, stderr=subprocess.PIPE, timeout=120, cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_letters_that_the_terminal_lacks_are_written_as_numbers(tmp_path: Path) -> None:
    text = tmp_path / "雪.txt"
    text.write_text("snow\n\nsnow\n", encoding="utf-8")
    done = in_process("lint", text, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert r"\u96ea.txt:1" in done.stdout
    assert done.stderr == ""
