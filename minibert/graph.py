"""The thin graph: what was executed, and the loop that runs it backward.

In a debugger, one `up` from an operation's backward is the loop of `backpropagate`, whose local `node` tells
which operation it is, where in the model and on which line of the forward pass it was called; `next` there
runs exactly one operation.
"""

import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from minibert.backend import Array, array_module
from minibert.errors import InputError
from minibert.ops.registry import Op

if TYPE_CHECKING:
    from minibert.tensor import Tensor

Source: TypeAlias = "Node | Tensor"  # where a value came from: the operation that made it, or a leaf
Collect: TypeAlias = "Callable[[Tensor, Array, bool], None]"  # what is done with the gradient of a leaf: see keep_grad
PACKAGE = os.path.dirname(__file__) + os.sep
# frames between an operation and the line of a model that asked for it
BETWEEN = frozenset(PACKAGE + os.path.join(*path) for path in (
    ("graph.py",), ("tensor.py",), ("functional.py",), ("nn", "module.py"), ("nn", "layers.py"), ("nn", "dropout.py")))


class _ThreadState(threading.local):
    """What one thread is doing: whether it records a graph, and which modules it is inside."""

    recording = True

    def __init__(self) -> None:
        self.modules: list[str] = []  # paths from the root, the innermost last
        self.latest: Callable[[], Node | None] = lambda: None  # where the last backward pass of this thread began


state = _ThreadState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block (and thread) no graph is recorded, so nothing is kept for a backward pass."""
    before, state.recording = state.recording, False
    try:
        yield
    finally:
        state.recording = before


class Calls(traceback.StackSummary):
    """Lines of source, outermost first, that show themselves as a traceback does."""

    def __repr__(self) -> str:
        return "".join(self.format()).rstrip()


class Node:
    """One operation that was executed: what it was, where, on what, and what its backward needs.

    Its inputs are the nodes that made them, or leaves; so an intermediate value that no backward needs is
    forgotten as soon as the forward pass lets go of it. `args` and `hyper` are what the operation was called with,
    nodes in the place of their values: with the leaves, a graph is a program that can be run again.
    """

    __slots__ = ("__weakref__", "_calls", "args", "dtype", "hyper", "inputs", "kept_by", "module", "op", "saved",
                 "shape", "used_by", "versions")

    def __init__(self, op: Op, inputs: "list[Source | None]", saved: tuple, shape: tuple[int, ...], dtype: Any,
                 args: list[Any], hyper: dict[str, Any], versions: "list[tuple[Tensor, int]]") -> None:
        self.op, self.inputs, self.saved, self.shape, self.dtype = op, inputs, saved, shape, dtype
        self.args, self.hyper = args, hyper
        self.versions = versions  # of the leaves it used, also of those that need no gradient
        self.module = state.modules[-1] if state.modules else ""
        model, user = calling_frames()
        self._calls = model.f_code, model.f_lasti, user.f_code, user.f_lasti  # lines are found when they are asked for
        self.kept_by: Tensor | None = None  # the tensor that wants to see its gradient, see Tensor.retain_grad
        self.used_by = ""  # the line of the backward call that consumed this node

    @property
    def line(self) -> str:
        """file:line of the call, outside this package where there is one."""
        _, _, code, instruction = self._calls
        return f"{code.co_filename}:{_line(code, instruction)}"

    def forward_frame(self) -> Calls:
        """Where the operation was called: the line outside this package, and the line of the model."""
        model, user = self._calls[:2], self._calls[2:]
        return Calls(traceback.FrameSummary(code.co_filename, _line(code, instruction), code.co_qualname)
                     for code, instruction in ((user, model) if user != model else (model,)))

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
        for x, version in self.versions:
            if x.version != version:
                raise InputError(f"{x.name or 'a parameter'} was changed after {self} had used it, so its gradient "
                                 f"would be wrong: call backward before the optimiser's step")


def calling_frames() -> tuple[FrameType, FrameType]:
    """The innermost caller that is a line of a model, and the innermost one outside this package.

    Either is the outermost caller where there is no such.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename in BETWEEN:
        frame = frame.f_back
    model = frame
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return model, frame


def _line(code: CodeType, instruction: int) -> int:
    """The number of the line that an instruction belongs to."""
    return next(line for start, end, line in code.co_lines() if start <= instruction < end and line is not None)


def calling_frame() -> FrameType:
    """The innermost caller outside this package (or the outermost caller inside it)."""
    return calling_frames()[1]


def calling_line() -> str:
    """file:line of `calling_frame`."""
    frame = calling_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def backpropagate(root: "Source", droot: Array, caller: str, collect: "Collect") -> None:
    """Hand every leaf that requires one the gradient of `root`, weighted by `droot`, through `collect`."""
    _let_pdb_stop_here()
    order = topological_order(root)
    pending = {root: droot}
    owned: set[Source] = set()  # those whose pending gradient is an array of our own, free to be added to
    while order:
        node = order.pop()
        dy = pending.pop(node)
        if not isinstance(node, Node):
            collect(node, dy, node in owned)
            continue
        node.check()
        if node.kept_by is not None:
            keep_grad(node.kept_by, dy, free=False)
        into = pending[node.inputs[0]] if "into" in node.op.wants and node.inputs[0] in owned else None
        extra = {} if into is None else {"into": into}
        if "collect" in node.op.wants:
            extra["collect"] = collect
        gradients = node.op.backward(dy, *node.saved, **extra)
        node.release(caller)
        _hand_on(pending, owned, node, dy, gradients, into)
        del gradients  # so that a leaf's can be freed before the next operation needs memory
    state.latest = weakref.ref(root) if isinstance(root, Node) else state.latest


def _let_pdb_stop_here() -> None:
    """pdb does not trace a function without a breakpoint in its file: `up` to it and `next` would run on past it."""
    trace: Any = sys.gettrace()
    if "bdb" in sys.modules and isinstance(getattr(trace, "__self__", None), sys.modules["bdb"].Bdb):
        sys._getframe(1).f_trace = trace


def topological_order(root: "Source") -> "list[Source]":
    """Every node and leaf that the gradient of `root` goes through, each after all those it was computed from.

    Iterative, because Python's own stack ends at a thousand calls.
    """
    order: list[Source] = []
    seen = {root}
    stack = [(root, iter(_inputs(root)))]
    while stack:
        source, inputs = stack[-1]
        for x in inputs:
            if x is not None and x not in seen:
                seen.add(x)
                stack.append((x, iter(_inputs(x))))
                break
        else:
            order.append(source)
            stack.pop()
    return order


def _inputs(source: "Source") -> "Sequence[Source | None]":
    return source.inputs if isinstance(source, Node) else ()


def check_gradient(node: Node, x: "Source", dx: Array | None) -> None:
    """Raise InputError when the backward of `node` returned no gradient for x, or one that cannot be x's."""
    if dx is None or dx.shape != x.shape or dx.dtype != x.dtype:
        what = "no gradient" if dx is None else f"a gradient of {dx.dtype} and shape {dx.shape}"
        name = "a tensor" if isinstance(x, Node) or not x.name else x.name
        raise InputError(f"the backward of {node} returned {what} for {name} of {x.dtype} and shape {x.shape}: "
                         f"it must match its input")


def _hand_on(pending: "dict[Source, Array]", owned: "set[Source]", node: Node, dy: Array,
             gradients: "Sequence[Array]", into: Array | None) -> None:
    """Add what the backward of `node` returned to what its inputs have."""
    for x, dx in zip(node.inputs, gradients, strict=True):
        if x is not None and (into is None or dx is not into):
            check_gradient(node, x, dx)
            kin = [d for d in gradients if d is dx or (d is not None and d.base is dx)]
            _add(pending, owned, x, dx, shared=dx is dy or dx.base is not None or len(kin) > 1)


def _add(pending: "dict[Source, Array]", owned: "set[Source]", x: "Source", dx: Array, shared: bool) -> None:
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


def keep_grad(tensor: "Tensor", dy: Array, free: bool) -> None:
    """Add `dy` to the tensor's own gradient, which outlives the backward pass.

    free: nobody else has this array, so that it may become the gradient itself.
    """
    if tensor.grad is None:
        # NumPy turns 0-d results into scalars; a gradient is an array, so that it can be changed in place
        tensor.grad = dy if free and dy.ndim else array_module(dy).array(dy)
    else:
        tensor.grad += dy
