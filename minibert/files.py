"""Reading and writing files so that nothing that was there is ever lost."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.errors import InputError

TEMPORARY = ".{name}.{process}.tmp"  # the name of a file that is being written, to be renamed when it is whole


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave it as it was: never anything in between.

    Raises InputError when the disk is full or the folder cannot be written.
    """
    replace_atomically(path, lambda temporary: temporary.write_bytes(content))


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, bring it to the disk, and only then put it in path's place.

    Raises InputError when that fails; the file that was there is untouched then.
    """
    temporary = path.with_name(TEMPORARY.format(name=path.name, process=os.getpid()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; what was there before is unchanged"
                         ) from error
    finally:
        with suppress(OSError):  # usually it is gone; and below a file, asking already fails
            temporary.unlink()
    with suppress(OSError):  # the file is in its place; not every file system can sync a folder
        _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    """Wait until the file, or the folder's list of names, would survive a power cut."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders, and its os.replace needs no help
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """The object in a JSON file.  Raises InputError, ending in `hint` when the file is missing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: {hint}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold a JSON object, not a {type(content).__name__}")
    return content
