"""The sources of the notebooks: code cells by name in a Python file, and text apart from it, in each language.

    sources/04_attention.py        # %% softmax-by-hand          begins the cell of that name
    sources/en/04_attention.md     [code: softmax-by-hand](../04_attention.py)      a line of its own: here it goes
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from minibert.errors import InputError

CELL = re.compile(r"^# %% ([a-z0-9-]+)$\n", re.MULTILINE)
MARKER = re.compile(r"^\[code: ([a-z0-9-]+)\]\(\.\./(\w+)\.py\)$", re.MULTILINE)
HEADING = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
EQUATION = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(\d\d)_\w+")
LANGUAGE = "en"  # whose notebooks lie in the folder itself; others in folders of their own


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook: code with a name, or text."""

    source: str
    name: str = ""

    @property
    def is_code(self) -> bool:
        """Whether it is code."""
        return bool(self.name)


def names(folder: Path) -> list[str]:
    """The notebooks whose sources are there, such as 04_attention, in order."""
    return sorted(path.stem for path in (folder / "sources").glob("*.py") if NAME.fullmatch(path.stem))


def languages(folder: Path, name: str) -> list[str]:
    """The languages in which there is a text for this notebook."""
    return sorted(path.parent.name for path in (folder / "sources").glob(f"*/{name}.md"))


def code_cells(folder: Path, name: str) -> dict[str, str]:
    """The code of each named cell.  Raises InputError when a name is used twice or code stands before the first."""
    path = folder / "sources" / f"{name}.py"
    before, *parts = CELL.split(_read(path))
    if not re.fullmatch(r'\s*("""[^"]*"""\s*)?', before):
        raise InputError(f"{path}: code stands before the first cell; begin one with a line such as # %% setup")
    cells = {}
    for cell, source in zip(parts[::2], parts[1::2], strict=True):
        if cell in cells:
            raise InputError(f"{path}: two cells are named {cell}")
        cells[cell] = source.strip("\n")
    return cells


def cells(folder: Path, name: str, language: str = LANGUAGE) -> list[Cell]:
    """Text and code in the order of the text in this language.

    Raises InputError unless every cell of the code is used once, and each marker names a cell.
    """
    path = folder / "sources" / language / f"{name}.md"
    text, code = _read(path), code_cells(folder, name)
    marked = [match.group(1) for match in MARKER.finditer(text)]
    others = {match.group(2) for match in MARKER.finditer(text)} - {name}
    if others:
        raise InputError(f"{path}: a marker links to {', '.join(sorted(others))}.py, and the code is in {name}.py")
    for cell in code.keys() | set(marked):
        if cell not in code:
            raise InputError(f"{path}: there is no cell {cell} in {name}.py")
        if marked.count(cell) != 1:
            raise InputError(f"{path}: the cell {cell} is used {marked.count(cell)} times, and must be once")
    edges = [0, *(edge for match in MARKER.finditer(text) for edge in match.span()), len(text)]
    found = []
    for i, (start, end) in enumerate(pairwise(edges)):
        if i % 2:
            cell = marked[i // 2]
            found.append(Cell(code[cell], cell))
        else:
            found += [Cell(part.strip()) for part in HEADING.split(text[start:end]) if part.strip()]
    return found


def equations(text: str) -> list[str]:
    """The display equations of a text, with their tags, spaces evened out."""
    return [" ".join(match.group(1).split()) for match in EQUATION.finditer(text)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
