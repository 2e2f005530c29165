"""`minibert notebooks` and `minibert lab`."""

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.flags import add_command

FOLDER = Path("minibert-notebooks")
NOTEBOOKS = """\
Copy the teaching notebooks, with the solutions of their exercises, into a folder, and open them in Jupyter Lab.

A notebook that you have changed is never overwritten: call the command again after an update of minibert, and only
those that you have not touched are renewed. To begin one afresh, rename or remove it first."""
LAB = """\
Show the exercises of the notebooks: how many are passed, and how many hints were used.

Progress is kept in minibert-lab.json, in the folder in which the notebooks run."""


def add_notebooks(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "notebooks", "copy the teaching notebooks out, and open them", notebooks_command,
                         description=NOTEBOOKS)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER", help="[%(default)s]")
    parser.add_argument("--copy-only", action="store_true", help="copy, and do not start Jupyter Lab")
    parser.add_argument("--no-browser", action="store_true", help="start Jupyter Lab without opening a browser")


def add_lab(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "lab", "show which exercises of the notebooks are passed", lab_command,
                         description=LAB)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER",
                        help=f"where the notebooks are [here, or {FOLDER}]")


def notebooks_command(options: argparse.Namespace) -> int:
    """`minibert notebooks`."""
    from minibert.lab.copying import copy_notebooks

    copies = copy_notebooks(options.folder)
    for files, what in ((copies.new, "copied"), (copies.renewed, "renewed"), (copies.same, "up to date")):
        if files:
            print(f"{len(files)} {'file' if len(files) == 1 else 'files'} {what} in {options.folder}")
    for name in copies.kept:
        print(f"{options.folder / name} was changed by you, and is left as it is")
    if options.copy_only:
        return 0
    if find_spec("jupyterlab") is None:
        print("to open them, install Jupyter Lab: pip install 'minibert[notebooks]'")
        return 0
    command = [sys.executable, "-m", "jupyterlab", *(["--no-browser"] if options.no_browser else [])]
    return subprocess.run(command, cwd=options.folder, env=os.environ).returncode


def lab_command(options: argparse.Namespace) -> int:
    """`minibert lab`."""
    from minibert.lab.record import NAME, Progress, Record

    folder = options.folder
    if folder is None:
        folder = FOLDER if not Path(NAME).exists() and (FOLDER / NAME).exists() else Path()
    elif not folder.is_dir():
        raise InputError(f"there is no folder {folder}: `minibert notebooks {folder}` makes one")
    print(Progress(Record.read(folder)))
    return 0
