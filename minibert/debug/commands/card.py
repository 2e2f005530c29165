"""`minibert card`: the formulas of an operation, forward and backward, and all else that is known about it."""

import argparse
from pathlib import Path
from typing import Any

from minibert.debug.commands.page import check_new
from minibert.errors import InputError
from minibert.flags import add_command

CARD = """\
Show an operation: formulas forward and backward, shapes, what is saved for the backward pass, kinks (where there is
no derivative, and what the code gives there), source, and where its two functions are. Without a name, list all.

  minibert card                              all operations with their formulas
  minibert card layer_norm                   one of them
  minibert card attention --html card.html   with formulas as in a book; without a name, a page of all

The tests of minibert evaluate each formula and hold the code against it."""
PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family:system-ui,sans-serif;margin:24px">
{body}
</body>
</html>
"""


def add_card(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "card", "show the formulas of an operation, forward and backward", card_command,
                         description=CARD)
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="an operation, such as softmax [all]")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page to this new file instead")


def card_command(options: argparse.Namespace) -> int:
    """`minibert card`."""
    from minibert.debug.formulas.card import card

    shown = card(options.name)
    if options.html is None:
        print(shown)
        return 0
    check_new(options.html)
    title = f"minibert: {options.name or 'operations'}"
    try:
        options.html.write_text(PAGE.format(title=title, body=shown._repr_html_()), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {options.html}: {error.strerror}") from error
    print(f"wrote {options.html}")
    return 0
