"""What the parsers of several commands have in common."""

import argparse
from collections.abc import Callable
from typing import Any

from minibert.backend import CHOICES


def add_command(commands: Any, name: str, help: str, run: Callable[[argparse.Namespace], int],
                **details: Any) -> argparse.ArgumentParser:
    """The parser of a new command, whose texts are shown as they are written; without a description, `help` is it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, formatter_class=argparse.RawDescriptionHelpFormatter,
        **{"description": help[0].upper() + help[1:] + ".", **details})
    parser.set_defaults(run=run)
    return parser


def add_device(parser: Any, default: str = "auto") -> None:
    """--device, for `minibert.backend.choose_device`."""
    parser.add_argument("--device", choices=CHOICES, default=default,
                        help="what to compute on; auto takes a GPU where one can be used, and cuda insists, and says "
                             "why where none can [%(default)s]")


def add_threads(parser: Any, same: str = "the result is") -> None:
    """--threads; `same` names what is the same bits for any number."""
    parser.add_argument("--threads", type=int, metavar="N",
                        help=f"threads to compute on; {same} the same bits for any number [all cores]")
