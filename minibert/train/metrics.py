"""The log of a run: one JSON object a line, in `metrics.jsonl`."""

import json
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.files import write_atomically


class MetricsLog:
    """Appends records; each has a step, and either training numbers or those of an evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **record: Any) -> None:
        """Write one record.  Raises InputError when the disk is full or the file cannot be written."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def read(self) -> list[dict[str, Any]]:
        """Every whole record; a last line that a crash cut short is left out."""
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: a resumed run does it again."""
        kept = [record for record in self.read() if record["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for record in kept).encode())
