"""`minibert notebooks` copies, and never overwrites what its reader has changed; `minibert lab` counts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.cli import main
from minibert.lab import commands, copying
from minibert.lab.record import NAME, Record


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notebooks like the shipped one."""
    folder = tmp_path / "shipped"
    (folder / "solutions").mkdir(parents=True)
    for name in ("README.md", "01_a.ipynb", "02_b.ipynb", "solutions/01_a.py"):
        (folder / name).write_text(f"{name}, first edition", encoding="utf-8")
    (folder / "AUTHORS.md").write_text("not for learners", encoding="utf-8")
    monkeypatch.setattr(copying, "shipped", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_notebooks_and_solutions_are_copied(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebooks", "mine", "--copy-only"]) == 0
    assert capsys.readouterr().out == "4 files copied in mine\n"
    assert read(Path("mine/solutions/01_a.py")) == "solutions/01_a.py, first edition"
    assert not Path("mine/AUTHORS.md").exists()
    assert main(["notebooks", "mine", "--copy-only"]) == 0
    assert capsys.readouterr().out == "4 files up to date in mine\n"


def test_what_was_changed_stays_and_the_rest_is_renewed(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copying.copy_notebooks(Path("mine"))
    Path("mine/01_a.ipynb").write_text("my work", encoding="utf-8")
    for name in ("01_a.ipynb", "02_b.ipynb"):
        (source / name).write_text("second edition", encoding="utf-8")
    for _ in range(2):  # and again: what was kept once is not taken for ours
        assert main(["notebooks", "mine", "--copy-only"]) == 0
        assert "01_a.ipynb was changed by you, and is left as it is" in capsys.readouterr().out
        assert read(Path("mine/01_a.ipynb")) == "my work"
    assert read(Path("mine/02_b.ipynb")) == "second edition"


def test_what_was_renewed_once_is_renewed_again(source: Path) -> None:
    for edition in ("second", "third"):
        copying.copy_notebooks(Path("mine"))
        (source / "02_b.ipynb").write_text(f"{edition} edition", encoding="utf-8")
    assert copying.copy_notebooks(Path("mine")).renewed == ["02_b.ipynb"]
    assert read(Path("mine/02_b.ipynb")) == "third edition"


def test_a_file_that_was_there_before_is_not_overwritten(source: Path) -> None:
    Path("mine").mkdir()
    Path("mine/README.md").write_text("my own", encoding="utf-8")
    assert copying.copy_notebooks(Path("mine")).kept == ["README.md"]
    assert read(Path("mine/README.md")) == "my own"


def test_a_file_in_the_place_of_the_folder_is_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").write_text("", encoding="utf-8")
    assert main(["notebooks", "mine"]) == 1
    assert capsys.readouterr().err == "minibert: mine is a file: name a folder for the notebooks\n"


def test_without_jupyter_it_says_how_to_get_it(source: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    assert main(["notebooks", "mine"]) == 0
    assert "pip install 'minibert[notebooks]'" in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "expected"), [([], []), (["--no-browser"], ["--no-browser"])])
def test_with_jupyter_it_opens_the_folder(flags: list[str], expected: list[str], source: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess:
        calls.append((command, options["cwd"]))
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(commands, "find_spec", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    assert main(["notebooks", "mine", *flags]) == 0
    assert calls == [([sys.executable, "-m", "jupyterlab", *expected], Path("mine"))]


def test_lab_shows_the_progress_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("minibert-notebooks").mkdir()
    Record.read(Path("minibert-notebooks")).answered("4.1", True)
    assert main(["lab", "minibert-notebooks"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^04_attention +6 +1 +0$", shown, re.MULTILINE)
    assert main(["lab"]) == 0
    assert capsys.readouterr().out == shown  # the default folder of `minibert notebooks` is looked for
    Record.read(Path()).answered("4.2", True)
    Record.read(Path()).answered("4.3", True)
    assert main(["lab"]) == 0 and re.search(r"04_attention +6 +2 +0\n", capsys.readouterr().out)
    assert main(["lab", "nowhere"]) == 1
    assert "there is no folder nowhere" in capsys.readouterr().err


def test_the_shipped_notebooks_are_found_in_a_clone() -> None:
    assert copying.shipped() == Path(__file__).parents[2] / "notebooks"


def test_the_package_holds_the_notebooks_where_setuptools_builds_it(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    code = ("import sys; from setuptools import setup; sys.argv = ['setup', '-q', 'egg_info', '--egg-base', "
            "sys.argv[1], 'build_py', '--build-lib', sys.argv[1]]; setup()")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2],
                   check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True)
    built = tmp_path / "minibert" / "notebooks"
    assert (built / "04_attention.ipynb").exists() and (built / "solutions" / "04_attention.py").exists()
    assert not (built / "sources").exists() and not (built / "AUTHORS.md").exists()
    assert NAME not in [path.name for path in tmp_path.rglob("*")]
