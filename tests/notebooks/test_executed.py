"""Every notebook runs from top to bottom, offline, in its time, and gives the text and numbers that are committed."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from minibert.lab.building import execute, without_paths
from minibert.lab.sources import languages, names

from .outputs import differences, same

FOLDER = Path(__file__).parents[2] / "notebooks"
SECONDS = {"09": 180.0, "10": 180.0}  # of these two a run is the subject
LIMIT = 60.0


@pytest.mark.parametrize("name", names(FOLDER))
def test_a_notebook_gives_the_committed_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient", reason="the extra `notebooks` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebooks` is not installed")
    import nbformat

    for proxy in ("http_proxy", "https_proxy", "all_proxy"):  # whoever asks the network gets no answer
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    committed = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    now = nbformat.from_dict(committed)
    for cell in now.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    begin = time.perf_counter()
    execute(now)
    seconds = time.perf_counter() - begin
    assert differences(now, nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)) == []
    assert seconds < SECONDS.get(name[:2], LIMIT)


def test_in_a_notebook_a_figure_and_a_result_show_themselves() -> None:
    pytest.importorskip("nbclient", reason="the extra `notebooks` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebooks` is not installed")
    from nbformat.v4 import new_code_cell, new_notebook

    answer = """@lab.answer("4.3")
def f(dp, p):
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))"""
    cells = ["import numpy as np\nfrom minibert import lab", answer, "lab.matrices(x=np.eye(2))", "lab.progress()"]
    notebook = execute(new_notebook(cells=[new_code_cell(cell) for cell in cells]))
    _, result, figure, progress = [cell.outputs for cell in notebook.cells]
    assert [output.output_type for output in result] == ["display_data"]
    assert "4.3 passed" in result[0].data["text/html"] and "data:image/png" in result[0].data["text/html"]
    assert "image/png" in figure[0].data
    assert re.search(r"04_attention +6 +1 +0", progress[0].data["text/plain"])


def test_other_languages_have_the_same_code_so_that_one_run_speaks_for_all() -> None:
    assert all("en" in languages(FOLDER, name) for name in names(FOLDER))


@pytest.mark.parametrize(("a", "b", "expected"), [
    ("loss 2.303 -> 0.123", "loss 2.303 -> 0.124", True),  # the last digit
    ("loss 2.303 -> 0.123", "loss 2.303 -> 0.133", False),
    ("loss 2.303", "lost 2.303", False),
    ("[[ 1.  -2.5]]", "[[1. -2.5]]", True),
    ("[[ 1.  2.5]]", "[[1. -2.5]]", False),
    ("error 3.1e-12", "error 5.2e-12", True),
    ("error 3.1e-05", "error 5.2e-05", False),
    ("7 passed", "8 passed", False),
    ("1.2345678", "1.2346000", True),
    ("nan", "0.0", False),
    ("(2, 3)", "(3, 2)", False),
])
def test_outputs_are_compared_as_a_reader_would(a: str, b: str, expected: bool) -> None:
    assert same(a, b) is expected


def test_a_notebook_that_gave_something_else_is_noticed() -> None:
    def notebook(text: str) -> dict[str, Any]:
        return {"cells": [{"id": "a", "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}]}
    assert differences(notebook("0.5\n"), notebook("0.5\n")) == []
    assert differences(notebook("0.5\n"), notebook("0.7\n")) == ["a: '0.5\\n', committed '0.7\\n'"]
    assert differences({"cells": []}, notebook("0.5\n")) == ["other cells have outputs"]


def test_no_path_of_the_machine_is_kept() -> None:
    package = str(Path(__file__).parents[2])
    told = without_paths(f"at /tmp/ipykernel_12/345.py:3 in {package}/minibert/ops/x.py:7")
    assert told == "at cell:3 in minibert/ops/x.py"
