"""Text, code, exercises and the committed notebooks hold together; no library of the extra is needed."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from minibert.errors import InputError
from minibert.lab.declaring import declared, notebooks
from minibert.lab.sources import Cell, cells, code_cells, equations, languages, names
from minibert.ops.registry import REGISTRY

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = names(FOLDER)
EDITIONS = [(name, language) for name in NAMES for language in languages(FOLDER, name)]
LINES, COLUMNS = 20, 92  # of a code cell: what a page shows without scrolling
HOST_REFUSES = re.compile(r"\\(operatorname|newcommand|def|require|color)\b")  # in formulas on a code host


def text_of(name: str, language: str) -> str:
    return (FOLDER / "sources" / language / f"{name}.md").read_text(encoding="utf-8")


def built(name: str, language: str) -> dict[str, Any]:
    path = (FOLDER if language == "en" else FOLDER / language) / f"{name}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_notebook_has_a_text_in_english_exercises_and_solutions() -> None:
    assert NAMES == notebooks() == sorted(path.stem for path in (FOLDER / "solutions").glob("*.py"))
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    assert all("en" in languages(FOLDER, name) for name in NAMES)


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_the_editions_of_a_notebook_have_the_same_code_and_equations(name: str, language: str) -> None:
    mine = [cell for cell in cells(FOLDER, name, language) if cell.is_code]
    assert mine == [cell for cell in cells(FOLDER, name) if cell.is_code]
    assert equations(text_of(name, language)) == equations(text_of(name, "en"))


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_of_code_fits_a_page(name: str) -> None:
    for cell, source in code_cells(FOLDER, name).items():
        lines = source.splitlines()
        assert len(lines) <= LINES, cell
        assert max(map(len, lines)) <= COLUMNS, cell


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_formulas_are_written_so_that_all_readers_show_them(name: str, language: str) -> None:
    text = text_of(name, language)
    assert text.count("$$") == 2 * len(equations(text)), "write $$ on lines of their own"
    assert not HOST_REFUSES.findall(text)
    assert len(equations(text)) >= 2


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_tags_are_those_of_the_operations(name: str, language: str) -> None:
    """A tag such as (2') is in the docstring of an operation that the code imports; (add norm 1') is in add_norm's."""
    code = "\n".join(cell.source for cell in cells(FOLDER, name, language))
    used = set(re.findall(r"\w+", " ".join(re.findall(r"from minibert\.ops\S* import (.+)", code))))
    ops = {op: f"{inspect.getdoc(REGISTRY[op].forward)} {inspect.getdoc(REGISTRY[op].backward)}" for op in REGISTRY}
    for tag in re.findall(r"\\tag\{(.+?)\}", text_of(name, language)):
        op, _, bare = tag.rpartition(" ")
        about = [ops[op.replace(" ", "_")]] if op else [text for known, text in ops.items() if known in used]
        assert any(f"({bare})" in text for text in about), tag


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_every_exercise_has_its_text_and_its_cell(name: str, language: str) -> None:
    code = [cell.source for cell in cells(FOLDER, name, language) if cell.is_code]
    headings = re.findall(r"^### .*?(\d+\.\d+)", text_of(name, language), re.MULTILINE)
    numbers = [exercise.number for exercise in declared(name)]
    assert headings == numbers
    assert re.findall(r'lab\.answer\("([\d.]+)"', "\n".join(code)) == numbers


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_the_committed_notebook_is_what_its_sources_give(name: str, language: str) -> None:
    found = [Cell("".join(cell["source"]), cell["id"] if cell["cell_type"] == "code" else "")
             for cell in built(name, language)["cells"]]
    assert found == cells(FOLDER, name, language), f"stale: python -m minibert.lab.build {name[:2]}"


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_the_committed_notebook_was_run_without_noise(name: str, language: str) -> None:
    notebook = built(name, language)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["metadata"] == {} for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)
    assert len(json.dumps(notebook)) < 1_500_000
    shown = json.dumps([{kind: content for kind, content in output.get("data", output).items() if kind != "image/png"}
                        for output in outputs])
    assert not re.search(r"ipykernel|/tmp/|site-packages|0x[0-9a-f]{8}", shown)


@pytest.mark.parametrize(("name", "language"), EDITIONS)
def test_every_section_with_a_formula_has_a_figure(name: str, language: str) -> None:
    sections: dict[str, list[dict[str, Any]]] = {"": []}
    for cell in built(name, language)["cells"]:
        first = "".join(cell["source"]).partition("\n")[0]
        if cell["cell_type"] == "markdown" and first.startswith("## "):
            sections[first] = []
        list(sections.values())[-1].append(cell)
    for title, inside in list(sections.items())[1:]:
        outputs = json.dumps([cell.get("outputs", []) for cell in inside])
        if any("$$" in "".join(cell["source"]) for cell in inside):
            assert "image/png" in outputs or "<svg" in outputs, title


def write(folder: Path, code: str, text: str) -> Path:
    (folder / "sources" / "en").mkdir(parents=True)
    (folder / "sources" / "07_x.py").write_text(code, encoding="utf-8")
    (folder / "sources" / "en" / "07_x.md").write_text(text, encoding="utf-8")
    return folder


def test_text_and_code_are_put_together_in_the_order_of_the_text(tmp_path: Path) -> None:
    folder = write(tmp_path, '"""About."""\n\n# %% one\na = 1\n\n# %% two\n\nb = 2\n',
                   "# Title\n\nWords.\n\n[code: two](../07_x.py)\n[code: one](../07_x.py)\nMore.\n\n## Next\n\nEnd.\n")
    assert cells(folder, "07_x") == [Cell("# Title\n\nWords."), Cell("b = 2", "two"), Cell("a = 1", "one"),
                                     Cell("More."), Cell("## Next\n\nEnd.")]
    assert names(folder) == ["07_x"] and languages(folder, "07_x") == ["en"]


@pytest.mark.parametrize(("code", "text", "problem"), [
    ("# %% a\n1\n", "[code: b](../07_x.py)\n[code: a](../07_x.py)\n", "there is no cell b"),
    ("# %% a\n1\n# %% b\n2\n", "[code: b](../07_x.py)\n", "the cell a is used 0 times"),
    ("# %% a\n1\n", "[code: a](../07_x.py)\n\n[code: a](../07_x.py)\n", "the cell a is used 2 times"),
    ("# %% a\n1\n# %% a\n2\n", "[code: a](../07_x.py)\n", "two cells are named a"),
    ("x = 1\n# %% a\n1\n", "[code: a](../07_x.py)\n", "before the first cell"),
    ("# %% a\n1\n", "[code: a](../08_y.py)\n", "08_y.py, and the code is in 07_x.py"),
])
def test_what_does_not_fit_together_is_refused(code: str, text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        cells(write(tmp_path, code, text), "07_x")


def test_equations_are_compared_with_their_tags_and_not_their_line_ends() -> None:
    assert equations("a\n$$\ny =\n  x \\tag{1}\n$$\n") == equations("b\n\n$$\ny = x \\tag{1}\n$$")
    assert equations("$$\ny = x \\tag{1}\n$$") != equations("$$\ny = x \\tag{2}\n$$")
