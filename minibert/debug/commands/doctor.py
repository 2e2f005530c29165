"""`minibert doctor`: is this run, or this text, free of the known faults of BERTs?"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.errors import InputError
from minibert.flags import add_command

if TYPE_CHECKING:  # what computes is imported when the command runs, so that help comes at once
    from minibert.debug.auditing import Report

DELAY = 2.0  # seconds before progress is shown
DOCTOR = """\
Examine a run, or text files before training on them, for faults that other BERTs had.

  minibert doctor runs/pretrain-1        the run's model, batches, text and held-out numbers
  minibert doctor book.txt notes.txt     the pairs and masks that training would make of this text

Of a run's model it checks that every parameter gets the gradient that it should have, that padding, the attention mask
and the way a batch is cut change nothing, that every label counts, that evaluation repeats itself, and that a few
examples can be learnt by heart. Of the data it checks masks, label balance, and whether random next sentences are
really from another document. A problem comes with the reason why it matters and the public bug report in which it was
seen. Nothing in the folder is changed. The exit status is 0 when there is no problem, and 1 when there is."""


def add_doctor(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "doctor", "look for known faults in a run, or in text to train on", doctor_command,
                         description=DOCTOR)
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN|FILE", help="one run folder, or UTF-8 text files")
    parser.add_argument("--blank-lines", choices=("document", "paragraph"), default="document",
                        help="what a blank line ends in text files [%(default)s]")
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object, with the numbers behind each finding, instead of a list")


def doctor_command(options: argparse.Namespace) -> int:
    """`minibert doctor`: 0 when there is no problem."""
    from minibert.debug.show import has_colour, width

    report = _examine(options)
    print(json.dumps(report.to_dict(), ensure_ascii=False) if options.json
          else report.render(width(100), has_colour()))
    return 0 if report.ok else 1


def _examine(options: argparse.Namespace) -> "Report":
    """The report on a folder or on files; shows progress.  Raises InputError for a mixture of both."""
    from tqdm import tqdm

    from minibert.debug.auditing import doctor_corpus, doctor_run

    paths: list[Path] = options.paths
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise InputError(f"{folders[0]} is a folder: give one run folder alone, or only text files")
    with tqdm(bar_format="doctor: {elapsed}{postfix}", delay=DELAY, leave=False,
              disable=not sys.stderr.isatty()) as bar:
        def watch(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        return doctor_run(paths[0], watch) if folders else doctor_corpus(paths, options.blank_lines, watch)
