"""Where a command writes a page: to a file that is not there yet, so that no file of the user's is lost."""

import os
from pathlib import Path

from minibert.errors import InputError


def check_new(path: Path | None) -> None:
    """Raise InputError when --html names something that exists."""
    if path is not None and os.path.lexists(path):
        raise InputError(f"{path} exists already: name another file with --html, or remove it")
