"""Where the notebooks lie, and copies of them for a learner, whose changes are never lost."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import minibert
from minibert.errors import InputError
from minibert.files import read_json, write_atomically

COPIED = ("*.ipynb", "README.md", "solutions/*.py")
LIST = ".minibert-notebooks.json"  # what was copied, as it was then: a file that differs now was changed by its reader


@dataclass
class Copies:
    """Names of files, by what became of them."""

    new: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # changed since, and therefore left alone


def shipped() -> Path:
    """The folder of the notebooks: beside the package in a clone, inside it where it was installed."""
    package = Path(minibert.__file__).parent
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / "README.md").exists():
            return folder
    raise InputError(f"the notebooks are missing beside {package}: install minibert again")


def copy_notebooks(to: Path) -> Copies:
    """Copy all notebooks and solutions into a folder; a file that was changed there since it was copied stays.

    Raises InputError when the folder cannot be written.
    """
    if to.exists() and not to.is_dir():
        raise InputError(f"{to} is a file: name a folder for the notebooks")
    source, copies = shipped(), Copies()
    record = to / LIST
    before = read_json(record, "") if record.exists() else {}
    after = dict(before)
    for name, path in sorted((path.relative_to(source).as_posix(), path)
                             for pattern in COPIED for path in source.glob(pattern)):
        content, there = path.read_bytes(), to / name
        old = there.read_bytes() if there.exists() else None
        if old is not None and old != content and _hash(old) != before.get(name):
            copies.kept.append(name)
            continue
        (copies.same if old == content else copies.new if old is None else copies.renewed).append(name)
        if old != content:
            write_atomically(there, content)
        after[name] = _hash(content)
    if after != before:
        write_atomically(record, (json.dumps(after, indent=1) + "\n").encode())
    return copies


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
