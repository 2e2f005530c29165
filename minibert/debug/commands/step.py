"""`minibert step`: walk through a training step of a run, operation by operation."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.debug.commands.page import check_new
from minibert.errors import InputError
from minibert.flags import add_command

if TYPE_CHECKING:  # what computes is imported when the command runs, so that help comes at once
    from minibert.debug.replaying.training_step import TrainingStep
    from minibert.debug.stepping import Stepper

STEP = """\
Walk through one training step of a run, forward and then backward, one operation at a time.

Any step can be had, by default the one after the last save, with the same weights, batch and dropout. Each stop shows
an operation with its formula, its place in the model, symbolic and real shapes, and a few numbers of each array; in
the backward pass also the gradient that comes in, what it adds to whom, and each accumulator before and after. Nothing
in the run is changed."""

EXAMPLES = """\
examples:
  minibert step runs/pretrain-1                       from the first operation on; ? shows the keys
  minibert step runs/pretrain-1 --until attention     stop at the first attention
  minibert step runs/pretrain-1 --until "layer 1 norm>10"
  minibert step runs/pretrain-1 --step 412 --backward
  minibert step runs/pretrain-1 --until nan           the first operation that shows a NaN or an infinity
  minibert step runs/pretrain-1 --backward --all | less
  minibert step runs/pretrain-1 --html walk.html      a page with every step

Without a terminal, commands are read from standard input, one a line: n, b, u CONDITION, c, v SLICE, g NUMBER, q."""


def add_step(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "step", "walk through a training step, operation by operation", step_command,
                         description=STEP, epilog=EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--step", type=int, metavar="N", help="which step, 1 .. the last [the one after the last save]")
    parser.add_argument("--part", type=int, default=0, metavar="N", help="which micro-batch of the step [%(default)s]")
    parser.add_argument("--examples", type=int, default=2, metavar="N",
                        help="how many examples of it, at most; with fewer than all, the loss is their share of it "
                             "[%(default)s]")
    parser.add_argument("--backward", action="store_true", help="begin with the backward pass")
    parser.add_argument("--until", metavar="CONDITION",
                        help="go on to an operation, a part of a module's path, 'layer 1', 'nan' or 'norm>10'; several "
                             "words must all hold")
    parser.add_argument("--view", metavar="SLICE", default="",
                        help="which numbers of each array to show, where it fits: '0, :4' [a corner]")
    parser.add_argument("--all", action="store_true", help="print this step and all that follow, and end")
    parser.add_argument("--html", type=Path, metavar="FILE",
                        help="write a new page with this step and all that follow, and end")


def step_command(options: argparse.Namespace) -> int:
    """`minibert step`."""
    import numpy as np

    if options.examples < 1:
        raise InputError(f"--examples must be at least 1, not {options.examples}")
    check_new(options.html)
    with np.errstate(all="ignore"):  # a NaN is shown where it arises, and a warning would spoil the screen
        return _step(options)


def _step(options: argparse.Namespace) -> int:
    from minibert.debug.replaying.training_step import load_step
    from minibert.debug.stepping import step
    from minibert.debug.stepping.terminal import walk

    training_step = load_step(options.folder, options.step)
    row, examples = _examples(training_step, options.part, options.examples)
    stepper = step(training_step.loss(row, examples), options.view)
    last = row + len(examples["input_ids"]) - 1
    print(f"training step {training_step.number:,} of {options.folder}\nexamples {row} to {last} of 0 to "
          f"{len(training_step.batch['input_ids']) - 1}, their share of the loss {stepper.loss.item():.4g}\n",
          flush=True)
    if options.backward:
        stepper.until(phase="backward")
    if options.until is not None:
        stepper.until(options.until)
    if options.all or options.html:
        _write(stepper, options)
    else:
        walk(stepper)
    return 0


def _write(stepper: "Stepper", options: argparse.Namespace) -> None:
    """Everything from here on, as text or as a page."""
    numbers = range(stepper.number, len(stepper) + 1)
    if options.html:
        stepper.page(options.html, map(stepper.at, numbers))
        print(f"{len(numbers)} steps in {options.html}")
    if options.all:
        for number in numbers:
            print(f"{stepper.at(number)}\n")


def _examples(training_step: "TrainingStep", part: int, count: int) -> tuple[int, dict[str, Any]]:
    """The first examples of a micro-batch, and the number of the first one in the batch."""
    parts = training_step.parts()
    if not 0 <= part < len(parts):
        raise InputError(f"--part must be from 0 to {len(parts) - 1}, for this step has {len(parts)} micro-batches, "
                         f"and not {part}")
    row, arrays = parts[part]
    return row, {name: array[:count] for name, array in arrays.items()}
