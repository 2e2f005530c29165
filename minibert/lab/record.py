"""What has been done: `minibert-lab.json`, beside the notebooks, so in the folder in which they run.

It can be read, copied along with them, and removed to begin again. A file that cannot be read is left as it is.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.debug.html import html_table
from minibert.debug.show import table
from minibert.errors import InputError
from minibert.files import read_json, write_atomically
from minibert.lab.declaring import declared, notebooks

NAME = "minibert-lab.json"
HEADERS = ("notebook", "exercises", "passed", "hints used")


@dataclass
class Record:
    """The progress in one folder.  done: exercise -> {"passed": bool, "tries": int, "hints": int}."""

    path: Path
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    problem: str = ""  # why the file cannot be read, and what to do

    @classmethod
    def here(cls) -> "Record":
        """Of the current folder."""
        return cls.read(Path.cwd())

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Of a folder; without a file, nothing has been done."""
        path = folder / NAME
        if not path.exists():
            return cls(path)
        try:
            done = read_json(path, "").get("exercises")
            if not isinstance(done, dict) or not all(_is_entry(entry) for entry in done.values()):
                raise InputError(f"{path} is not a record of progress")
        except InputError as error:
            return cls(path, problem=f"{error}; nothing is recorded until you repair or remove it")
        return cls(path, done)

    def passed(self, number: str) -> bool:
        """Whether an exercise was passed at some time."""
        return bool(self.done.get(number, {}).get("passed"))

    def hints(self, number: str) -> int:
        """How many of its hints were asked for."""
        return int(self.done.get(number, {}).get("hints", 0))

    def answered(self, number: str, passed: bool) -> str:
        """Count a try; once passed, an exercise stays so.  Returns what to say when it cannot be kept."""
        entry = self._entry(number)
        entry["tries"] += 1
        entry["passed"] = entry["passed"] or passed
        return self._write()

    def hinted(self, number: str, count: int) -> str:
        """Note that `count` hints have been seen.  Returns what to say when it cannot be kept."""
        self._entry(number)["hints"] = count
        return self._write()

    def _entry(self, number: str) -> dict[str, Any]:
        return self.done.setdefault(number, {"passed": False, "tries": 0, "hints": 0})

    def _write(self) -> str:
        if self.problem:
            return self.problem
        content = json.dumps({"version": 1, "exercises": dict(sorted(self.done.items()))}, indent=1) + "\n"
        try:
            write_atomically(self.path, content.encode())
        except InputError as error:
            return f"the progress was not kept: {error}"
        return ""


def _is_entry(entry: Any) -> bool:
    return (isinstance(entry, dict) and isinstance(entry.get("passed"), bool)
            and all(isinstance(entry.get(name), int) for name in ("tries", "hints")))


@dataclass(frozen=True, repr=False)
class Progress:
    """A table of all notebooks."""

    record: Record

    def rows(self) -> list[tuple[str, int, int, int]]:
        """Notebook, exercises, how many were passed, hints used."""
        found = []
        for name in notebooks():
            numbers = [exercise.number for exercise in declared(name)]
            found.append((name, len(numbers), sum(map(self.record.passed, numbers)),
                          sum(map(self.record.hints, numbers))))
        return found

    def to_do(self) -> list[str]:
        """The exercises that were not passed yet."""
        return [exercise.number for name in notebooks() for exercise in declared(name)
                if not self.record.passed(exercise.number)]

    def __repr__(self) -> str:
        return "\n".join([table(self.rows(), HEADERS), *self._after()])

    def _repr_html_(self) -> str:
        return html_table(self.rows(), HEADERS) + "".join(f"<div>{line}</div>" for line in self._after())

    def _after(self) -> list[str]:
        if self.record.problem:
            return [self.record.problem]
        return [f"next: {self.to_do()[0]}"] if self.to_do() else ["all exercises are passed"]


def progress() -> Progress:
    """What has been done in the notebooks of this folder."""
    return Progress(Record.here())
