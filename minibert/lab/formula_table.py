"""The table of the README: every formula, its operation, its backward, the notebook that derives it, and its test."""

import re
from collections import Counter
from pathlib import Path

from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.lab.declaring import Backward, declared
from minibert.lab.sources import code_cells, names
from minibert.ops.registry import REGISTRY, Op

BEGIN, END = "<!-- formulas -->\n", "<!-- end of formulas -->\n"
HEAD = ("| formula | operation | backward | notebook | test: `pytest` |", "|---|---|---|---|---|")


def formula_table(folder: Path) -> str:
    """The table in Markdown, with the notebooks whose sources are in `folder`."""
    derived = _notebooks(folder)
    return "\n".join([*HEAD, *(_row(op, derived.get(name, "")) for name, op in REGISTRY.items())]) + "\n"


def write_table(readme: Path, folder: Path) -> None:
    """Put the table of now into its place in a file.  Raises InputError when the file has no such place."""
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{readme} has no place for the table: two lines, {BEGIN.strip()} and {END.strip()}")
    write_atomically(readme, (before + begin + "\n" + formula_table(folder) + "\n" + end + after).encode())


def _row(op: Op, notebook: str) -> str:
    file = f"{op.forward.__module__.replace('.', '/')}.py"
    link = f"[{notebook[:2]}](notebooks/{notebook}.ipynb)" if notebook else ""
    return f"| {_math(op.formula)} | [`{op.name}`]({file}) | {_math(op.gradient)} | {link} | `tests/ops -k {op.name}` |"


def _math(latex: str) -> str:
    """As code hosts draw it inside a table, whatever Markdown thinks of its backslashes."""
    return f"$`{latex}`$"


def _notebooks(folder: Path) -> dict[str, str]:
    """By operation, the notebook that is about it: it asks for its backward, or has its name, or else names its
    backward most often.

    Number 0, the map, has a little of everything, and stands for an operation that no other notebook has.
    """
    best: dict[str, tuple[tuple[bool, bool, int], str]] = {}
    for name in names(folder):
        code = "\n".join(code_cells(folder, name).values())
        asked = {exercise.op for exercise in declared(name) if isinstance(exercise, Backward)}
        for op, count in Counter(re.findall(r"\b(\w+)_backward\b", code)).items():
            rank = not name.startswith("00"), op in asked or op in name, count
            if op in REGISTRY and (op not in best or rank > best[op][0]):
                best[op] = rank, name
    return {op: name for op, (_, name) in best.items()}
