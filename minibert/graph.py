"""The thin graph: what was executed, and the loop that runs it backward.

In a debugger, one `up` from an operation's backward is the loop of `backpropagate`, whose local `node` tells
which operation it is, where in the model and on which line of the forward pass it was called; `next` there
runs exactly one operation.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from minibert.backend import Array, array_module
from minibert.errors import InputError
from minibert.ops.registry import Op

if TYPE_CHECKING:
    from minibert.tensor import Tensor

PACKAGE = os.path.dirname(__file__) + os.sep


class _ThreadState(threading.local):
    """What one thread is doing: whether it records a graph, and which modules it is inside."""

    recording = True

    def __init__(self) -> None:
        self.modules: list[str] = []


state = _ThreadState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block (and thread) no graph is recorded, so nothing is kept for a backward pass."""
    before, state.recording = state.recording, False
    try:
        yield
    finally:
        state.recording = before


class Node:
    """One operation that was executed: what it was, where, on what, and what its backward needs."""

    __slots__ = ("inputs", "line", "module", "op", "saved", "shape", "used_by", "versions")

    def __init__(self, op: Op, inputs: "list[Tensor | None]", saved: tuple, shape: tuple[int, ...]) -> None:
        self.op, self.inputs, self.saved, self.shape = op, inputs, saved, shape
        self.module = ".".join(filter(None, state.modules))
        self.line = calling_line()
        self.versions = [0 if x is None else x.version for x in inputs]
        self.used_by = ""  # the line of the backward call that consumed this node

    def __repr__(self) -> str:
        place = f" in {self.module}" if self.module else ""
        return f"<{self.op.name} {self.shape}{place}, called at {self.line}>"

    def release(self, caller: str) -> None:
        """Forget the saved arrays: they are used once."""
        self.saved, self.used_by = (), caller

    def check(self) -> None:
        """Raise InputError when this node was used before, or when a parameter it used has changed since."""
        if self.used_by:
            raise InputError(f"{self} was already used by the backward call at {self.used_by} and its saved arrays "
                             f"are gone: run the forward pass again, or add the losses and call backward once")
        for x, version in zip(self.inputs, self.versions, strict=True):
            if x is not None and x.version != version:
                raise InputError(f"{x.name or 'a parameter'} was changed after {self} had used it, so its gradient "
                                 f"would be wrong: call backward before the optimiser's step")


def calling_frame() -> FrameType:
    """The innermost caller outside this package (or the outermost caller inside it)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame


def calling_line() -> str:
    """file:line of `calling_frame`."""
    frame = calling_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def backpropagate(root: "Tensor", droot: Array, caller: str) -> None:
    """Add the gradient of `root`, weighted by `droot`, to every leaf that requires one."""
    order = topological_order(root)
    pending = {root: droot}
    owned: set[Tensor] = set()  # those whose pending gradient is an array of our own, free to be added to
    while order:
        tensor = order.pop()
        dy, node = pending.pop(tensor), tensor.node
        if node is None or tensor.keeps_grad:
            _keep(tensor, dy, tensor in owned and node is None)
        if node is None:
            continue
        node.check()
        gradients = node.op.backward(dy, *node.saved)
        node.release(caller)
        for x, dx in zip(node.inputs, gradients, strict=True):
            if x is not None and x.requires_grad:
                _check_gradient(node, x, dx)
                kin = [d for d in gradients if d is dx or (d is not None and d.base is dx)]
                shared = dx is dy or dx.base is not None or len(kin) > 1
                _add(pending, owned, x, dx, shared)


def topological_order(root: "Tensor") -> "list[Tensor]":
    """Every tensor that needs a gradient for `root`'s sake, each after all those it was computed from.

    Iterative, because Python's own stack ends at a thousand calls.
    """
    order: list[Tensor] = []
    seen = {root}
    stack = [(root, iter(root.node.inputs if root.node else ()))]
    while stack:
        tensor, inputs = stack[-1]
        x = next((x for x in inputs if x is not None and x.requires_grad and x not in seen), None)
        if x is None:
            order.append(tensor)
            stack.pop()
        else:
            seen.add(x)
            stack.append((x, iter(x.node.inputs if x.node else ())))
    return order


def _check_gradient(node: Node, x: "Tensor", dx: Array | None) -> None:
    """Raise InputError when the backward of `node` returned no gradient for x, or one that cannot be x's."""
    if dx is None or dx.shape != x.shape or dx.dtype != x.dtype:
        what = "no gradient" if dx is None else f"a gradient of {dx.dtype} and shape {dx.shape}"
        raise InputError(f"the backward of {node} returned {what} for {x.name or 'a tensor'} of {x.dtype} and shape "
                         f"{x.shape}: it must match its input")


def _add(pending: "dict[Tensor, Array]", owned: "set[Tensor]", x: "Tensor", dx: Array, shared: bool) -> None:
    """The fork rule: what went several ways forward is summed backward.

    A gradient that may share its memory with another one is never added to in place.
    """
    if x not in pending:
        pending[x] = dx
        if not shared:
            owned.add(x)
    elif x in owned:
        pending[x] += dx
    else:
        pending[x] = pending[x] + dx
        owned.add(x)


def _keep(tensor: "Tensor", dy: Array, owned: bool) -> None:
    """Add `dy` to the tensor's own gradient, which outlives the backward pass."""
    if tensor.grad is None:
        # NumPy turns 0-d results into scalars; a gradient is an array, so that it can be changed in place
        tensor.grad = dy if owned and dy.ndim else array_module(dy).array(dy)
    else:
        tensor.grad += dy
