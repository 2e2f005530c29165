"""A training step in Python's own debugger, just before its backward pass."""

import bdb
import pdb

import minibert.ops.attention  # noqa: F401 (names for breakpoints: b minibert.ops...)
from minibert.debug.replaying.replay import Replay
from minibert.errors import InputError
from minibert.train.lanes import single_threaded_blas

HINT = """\
Step {number}, micro-batch {part} of 0 .. {last}, after its forward pass; next: loss.backward()
At hand: loss, model, batch, optimizer, and step (as in `p step.number`: a line
that begins with step is a command of the debugger).

  b minibert.ops.attention.attention_backward
                          stop where an operation goes backward; c goes there
  p dcontext.shape        its arrays: the gradient of v is dv
  up, then p node         the engine's loop: which operation, where in the model
  p node.forward_frame()  the lines of the forward pass that called it
  n, s, c, q              next line, into a call, go on, leave
"""


def debug(replay: Replay, part: int = 0) -> None:
    """Open pdb before the backward pass of micro-batch `part`; returns when that is over, or left.

    Raises InputError when there is no such micro-batch.
    """
    step = replay.step
    parts = step.parts()
    if not 0 <= part < len(parts):
        raise InputError(f"step {step.number} has micro-batches 0 .. {len(parts) - 1}, not {part}")
    print(HINT.format(number=step.number, part=part, last=len(parts) - 1))
    try:
        with single_threaded_blas():
            _stop_before_backward(replay, part)
    except bdb.BdbQuit:
        print("left before the end of the backward pass")
    else:
        print("the backward pass is over")


def _stop_before_backward(replay: Replay, part: int) -> None:
    step = replay.step
    model, optimizer = step.model, step.optimizer  # noqa: F841 (for the person at the prompt)
    row, batch = step.parts()[part]
    loss = step.loss(row, batch)
    pdb.Pdb().set_trace()
    loss.backward()
