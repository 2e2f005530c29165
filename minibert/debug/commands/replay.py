"""`minibert replay`: any step of a run again, bit for bit, to look at or to change."""

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.debug.commands.page import check_new
from minibert.errors import InputError
from minibert.flags import add_command, add_device

if TYPE_CHECKING:
    from minibert.debug.replaying.change import Change
    from minibert.debug.replaying.replay import Replay

REPLAY = """\
Compute a training step of a run again, bit for bit: batch, dropout, gradients and AdamW's update.

The run may be finished, stopped or crashed. It is trained again from the nearest saved state before the step, without
a change to it; states on the way are kept in RUN/replay, so that a second look is quick. With something changed, the
step is computed both ways, and you see the first operation that differs and how the difference grows. On another
device than the run's, the numbers are the same but for rounding."""

EXAMPLES = """\
examples:
  minibert replay runs/pretrain-1 --step 4312                     what happened in step 4312?
  minibert replay runs/pretrain-1 --step 4312 --ops --part 0      every operation, with its norms
  minibert replay runs/pretrain-1 --step 4312 --pdb               stop before the backward pass, in Python's debugger
  minibert replay runs/pretrain-1 --step 4312 --set-lr 0.0001     what if the learning rate had been smaller?
  minibert replay runs/pretrain-1 --step 4312 --set-token 0 5 list --figure growth.png"""


def add_replay(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "replay", "compute a training step of a run again, bit for bit", replay_command,
                         description=REPLAY, epilog=EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--step", type=int, metavar="N", help="1 .. the last step [the one after the last save]")
    add_device(parser, "cpu")
    parser.add_argument("--part", type=int, metavar="P",
                        help="the micro-batch to debug [0], or the only one to list")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--ops", action="store_true", help="list every operation with the norms of its arrays")
    shown.add_argument("--pdb", action="store_true",
                       help="open Python's debugger before the backward pass of a micro-batch")
    changes = parser.add_argument_group("changes, of which any number may be given")
    changes.add_argument("--set-token", nargs=3, action="append", default=[], metavar=("EXAMPLE", "POSITION", "PIECE"),
                         help="another input token, a piece of the vocabulary")
    changes.add_argument("--set-weight", nargs=3, action="append", default=[], metavar=("NAME", "INDEX", "VALUE"),
                         help="another number in a parameter; INDEX such as 3,5")
    changes.add_argument("--set-lr", type=float, metavar="X", help="another learning rate")
    changes.add_argument("--set-eps", type=float, metavar="X", help="another epsilon in AdamW's division")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="draw how the difference grows")


def replay_command(options: argparse.Namespace) -> int:
    """`minibert replay`."""
    from minibert.debug.replaying.pdb import debug
    from minibert.debug.replaying.replay import replay
    from minibert.debug.replaying.text import operations_text, summary
    from minibert.debug.show import has_colour, width

    changes = list(_changes(options))
    if options.figure and not changes:
        raise InputError("--figure draws how a difference grows: give a change, such as --set-lr 0.001")
    if options.figure and (options.ops or options.pdb):
        raise InputError("--figure draws how a difference grows, and --ops and --pdb show none: leave one of them out")
    if options.figure and options.figure.suffix != ".png":
        raise InputError(f"--figure writes PNG, so its name must end in .png, and {options.figure} does not")
    check_new(options.figure, "--figure")
    step = replay(options.folder, options.step, device=options.device)
    changed = step.changed(*changes)
    last = len(step.step.parts()) - 1
    if options.part is not None and not 0 <= options.part <= last:
        raise InputError(f"--part {options.part}: step {step.step.number} has micro-batches 0 .. {last}")
    if options.pdb:
        debug(changed, options.part or 0)
    elif options.ops:
        print(operations_text(changed.run(keep=False), options.part, width()))
    elif changes:
        _compare(step, changed, options.figure)
    else:
        print(summary(step.step, step.run(keep=False), width(), has_colour()))
    return 0


def _compare(step: "Replay", changed: "Replay", figure: Path | None) -> None:
    """Print the comparison, and draw it."""
    from minibert.debug.replaying.compare import compare
    from minibert.debug.show import width
    from minibert.files import replace_atomically

    comparison = compare(step, changed)
    print(comparison)
    print(textwrap.fill(f"step {step.step.number:,} itself: {comparison.first_timeline.verified}", width()))
    if figure:
        drawn = comparison.figure()
        replace_atomically(figure, lambda temporary: drawn.savefig(temporary, format="png", dpi=120))
        print(f"figure: {figure}")


def _changes(options: argparse.Namespace) -> Iterator["Change"]:
    """The changes that the flags ask for.  Raises InputError for what is no number."""
    from minibert.debug.replaying.change import Eps, LearningRate, Token, Weight

    for example, position, piece in options.set_token:
        yield Token(_number(int, example, "--set-token"), _number(int, position, "--set-token"), piece)
    for name, index, value in options.set_weight:
        places = tuple(_number(int, i, "--set-weight") for i in index.split(","))
        yield Weight(name, places, _number(float, value, "--set-weight"))
    if options.set_lr is not None:
        yield LearningRate(options.set_lr)
    if options.set_eps is not None:
        yield Eps(options.set_eps)


def _number(kind: Any, text: str, flag: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{flag} needs a {'whole ' * (kind is int)}number where you wrote {text!r}") from None
