"""What one section finds, written to its file at once: whatever happens to the process, what it found stays."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb, print_exc
from typing import Any

FEW = 25  # failures that are shown
ROOT = Path(__file__).parents[3]


class Skip(Exception):
    """A section cannot run here; the message says why."""


class Page:
    """Checks that held, those that did not, and text in Markdown."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.held = 0
        self.failures: list[str] = []
        self.text: list[str] = []
        self.sentence = ""  # the section in a few words, for the summary
        self.skipped = ""  # why it did not run
        self.complete = False

    def check(self, holds: bool, what: str) -> bool:
        """Count a check; one that does not hold is shown as `what`."""
        if holds:
            self.held += 1
        else:
            self.failures.append(what)
        self.save()
        return holds

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """What is raised inside this block is a check of the section that did not hold, and not its end."""
        try:
            yield
        except Exception as error:
            ours = [f for f in extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT)) and f.line]
            print_exc()
            self.check(False, f"{what}: {type(error).__name__}: {error} ({Path(ours[-1].filename).name}:"
                              f"{ours[-1].lineno}: {ours[-1].line})")

    def note(self, text: str) -> None:
        """A paragraph."""
        self.text.append(text)
        self.save()

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Columns; numbers are set to the right."""
        numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
        lines = [head, ["--:" if right else "---" for right in numeric], *[list(map(cell, row)) for row in rows]]
        self.note("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def verbatim(self, text: str) -> None:
        """What a program printed."""
        self.note(fenced(text))

    def save(self) -> None:
        """Write the file, whole."""
        if self.file is not None:
            written = self.file.with_suffix(".new")
            written.write_text(json.dumps({k: v for k, v in vars(self).items() if k != "file"}), encoding="utf-8")
            written.replace(self.file)

    @classmethod
    def read(cls, file: Path) -> "Page":
        """A section's file; an empty page when there is none."""
        page = cls()
        if file.exists():
            vars(page).update(json.loads(file.read_text(encoding="utf-8")))
        return page

    @property
    def verdict(self) -> str:
        """In a word.  What did not come to its end has failed."""
        if self.skipped and not self.failures:
            return "skipped"
        return "passed" if self.complete and not self.failures and self.held else "FAILED"


def fenced(text: str) -> str:
    """Text as it is."""
    return "```text\n" + text.strip().replace("```", "` ` `") + "\n```"


def cell(value: Any) -> str:
    """A number with three digits, or all before the point; a bar would end the cell."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")
