"""What has been done: `minibert-lab.json`, beside the notebooks, so in the folder in which they run.

It can be read, copied along with them, and removed to begin again. A file that cannot be read is left as it is.
"""

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from minibert.debug.html import html_table
from minibert.debug.show import table
from minibert.errors import InputError
from minibert.files import read_json, write_atomically
from minibert.lab.declaring import declared, notebooks

NAME = "minibert-lab.json"
HEADERS = ("notebook", "exercises", "passed", "hints used")
OF_ONE = ("exercise", "", "passed", "hints used")


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
    """A table of all notebooks, or of the exercises of one."""

    record: Record
    name: str = ""  # of the one notebook

    def rows(self) -> list[tuple[str, Any, Any, int]]:
        """Notebook, exercises, how many were passed, hints used; of one notebook: number, title, passed, hints used."""
        passed, hints = self.record.passed, self.record.hints
        if self.name:
            return [(x.number, x.title, "yes" if passed(x.number) else "", hints(x.number))
                    for x in declared(self.name)]
        every = [(name, [exercise.number for exercise in declared(name)]) for name in notebooks()]
        return [(name, len(numbers), sum(map(passed, numbers)), sum(map(hints, numbers))) for name, numbers in every]

    def to_do(self) -> list[str]:
        """The exercises that were not passed yet."""
        return [exercise.number for name in ([self.name] if self.name else notebooks()) for exercise in declared(name)
                if not self.record.passed(exercise.number)]

    def __repr__(self) -> str:
        return "\n".join([table(self.rows(), OF_ONE if self.name else HEADERS), *self._after()])

    def _repr_html_(self) -> str:
        return (html_table(self.rows(), OF_ONE if self.name else HEADERS)
                + "".join(f"<div>{escape(line)}</div>" for line in self._after()))

    def _after(self) -> list[str]:
        if self.record.problem:
            return [self.record.problem]
        return [f"next: {self.to_do()[0]}"] if self.to_do() else ["all exercises are passed"]


def progress(notebook: int | None = None) -> Progress:
    """What has been done in the notebooks of this folder, or of one notebook, by its number.

    Raises InputError when there is none of that number, or it has no exercises.
    """
    found = [name for name in notebooks() if notebook is not None and int(name[:2]) == notebook]
    if notebook is not None and not found:
        raise InputError(f"there is no notebook {notebook} with exercises: choose one of {', '.join(notebooks())}")
    return Progress(Record.here(), *found)
