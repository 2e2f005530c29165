"""From sources to notebooks: cells put together, run from top to bottom, and kept with what they gave.

The same sources give the same file: no times, no random identifiers, no paths of the machine.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import minibert
from minibert.errors import InputError
from minibert.lab.sources import LANGUAGE, cells

TIMEOUT = 300  # seconds for one cell
CELL_PATH = re.compile(r"[^\s\"'<>]*ipykernel_\d+[/\\]\d+\.py")  # where a notebook's cell pretends to be
OWN_LINE = re.compile(r"(minibert/[\w/]+\.py):\d+")  # which moves with any edit above it
PACKAGE = str(Path(minibert.__file__).parents[1]) + os.sep
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
          "language_info": {"name": "python"}}


def target(folder: Path, name: str, language: str = LANGUAGE) -> Path:
    """Where the notebook lies."""
    return (folder if language == LANGUAGE else folder / language) / f"{name}.ipynb"


def assemble(folder: Path, name: str, language: str = LANGUAGE) -> Any:
    """The notebook without outputs.  Raises InputError when text and code do not fit together."""
    nbformat = needed("nbformat")
    notebook = nbformat.v4.new_notebook(metadata=KERNEL)
    for i, cell in enumerate(cells(folder, name, language)):
        make = nbformat.v4.new_code_cell if cell.is_code else nbformat.v4.new_markdown_cell
        notebook.cells.append(make(cell.source, id=cell.name or f"text-{i}"))
    return notebook


def execute(notebook: Any) -> Any:
    """Run all cells in an empty folder, in place.  Raises nbclient's CellExecutionError where one fails."""
    nbclient = needed("nbclient")
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1",
                   "PYTHONPATH": os.pathsep.join(filter(None, [PACKAGE, os.environ.get("PYTHONPATH", "")]))}
    with tempfile.TemporaryDirectory() as empty:
        client = nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", record_timing=False,
                                         resources={"metadata": {"path": empty}})
        client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.clear()
            cell.outputs = _joined([_clean(output) for output in cell.outputs])
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream that came one after the other, as one."""
    found: list[Any] = []
    for output in outputs:
        last = found[-1] if found else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def _clean(output: Any) -> Any:
    """An output without what differs from machine to machine."""
    if output.output_type == "stream":
        output.text = without_paths(output.text)
    for kind, content in output.get("data", {}).items():
        if isinstance(content, str) and not kind.startswith("image/png"):
            output.data[kind] = without_paths(content)
    return output


def without_paths(text: str) -> str:
    """A cell's own file called `cell`, and minibert's files from the folder of the package on, without lines."""
    return OWN_LINE.sub(r"\1", CELL_PATH.sub("cell", text).replace(PACKAGE, ""))


def build(folder: Path, name: str, language: str = LANGUAGE) -> Path:
    """Put together, run and write one notebook."""
    from minibert.files import write_atomically

    notebook = execute(assemble(folder, name, language))
    path = target(folder, name, language)
    write_atomically(path, (needed("nbformat").writes(notebook) + "\n").encode())
    return path


def needed(module: str) -> Any:
    """A library of the extra `notebooks`.  Raises InputError, saying how to install it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"building notebooks needs {module}: pip install 'minibert[notebooks]'") from error
