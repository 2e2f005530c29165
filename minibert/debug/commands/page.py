"""Where a command writes: to a file that is not there yet, so that no file of the user's is lost."""

import os
from pathlib import Path

from minibert.errors import InputError


def check_new(path: Path | None, flag: str = "--html") -> None:
    """Raise InputError when the flag names something that exists."""
    if path is not None and os.path.lexists(path):
        raise InputError(f"{path} exists already: name another file with {flag}, or remove it")
