"""The README says what is true: its program runs, and prints what stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.errors import InputError
from minibert.lab.formula_table import write_table
from minibert.ops.registry import REGISTRY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The fenced block that follows the comment `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block {name!r}"
    return found[1]


def test_the_training_loop_prints_what_the_readme_says() -> None:
    result = subprocess.run([sys.executable, "-c", block("loop")], capture_output=True, text=True, cwd=ROOT,
                            encoding="utf-8", check=True)
    printed, promised = result.stdout.splitlines(), block("loop output").splitlines()
    assert [re.sub(r"[\d.]+", "#", line) for line in printed] == [re.sub(r"[\d.]+", "#", line) for line in promised]
    for here, there in zip(printed, promised, strict=True):
        numbers, expected = (list(map(float, re.findall(r"\d+\.?\d*", line))) for line in (here, there))
        assert numbers == pytest.approx(expected, abs=0.15)  # libraries for matrices round differently


def test_the_terms_of_a_gradient_are_those_that_the_readme_shows() -> None:
    result = subprocess.run([sys.executable, "-c", block("why")], capture_output=True, cwd=ROOT, encoding="utf-8",
                            check=True)
    assert result.stdout == block("why output")


def test_the_table_of_formulas_is_that_of_the_registry_and_of_the_notebooks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    write_table(readme, ROOT / "notebooks")
    assert readme.read_text(encoding="utf-8") == README, "python -m minibert.lab.build --table README.md"
    for name, op in REGISTRY.items():
        assert re.search(rf"^\|.*{re.escape(op.formula)}.*\[`{name}`\].*{re.escape(op.gradient)}", README, re.MULTILINE)
    for notebook in re.findall(r"\]\((notebooks/\w+\.ipynb)\)", README):
        assert (ROOT / notebook).exists()
    readme.write_text("# A file without the place", encoding="utf-8")
    with pytest.raises(InputError, match="has no place for the table: two lines"):
        write_table(readme, ROOT / "notebooks")


def test_the_commands_do_all_the_set_up() -> None:
    for name, last in (("pretrain", ".venv/bin/minibert pretrain"), ("tests", ".venv/bin/python -m pytest")):
        lines = block(name).splitlines()
        assert lines[0] == "python3 -m venv .venv"
        assert lines[-1] == last
        assert any("pip install" in line for line in lines)


def test_every_command_and_file_the_readme_names_exists() -> None:
    for path in re.findall(r"`((?:minibert|tests)/[\w/]+\.py|minibert/\w+/)`", README):
        assert (ROOT / path).exists(), path
