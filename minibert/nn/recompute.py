"""Time for memory: forget what a part of a model computed, and compute it again when backward needs it.

Chen et al. 2016, "Training deep nets with sublinear memory cost" (arXiv:1604.06174).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from minibert.backend import Array
from minibert.graph import Collect, Node, state
from minibert.nn.dropout import DropoutStream, stream_of
from minibert.nn.module import Module
from minibert.ops.registry import Op
from minibert.tensor import Tensor, lock, source

Function = Callable[[Tensor], Tensor]


def recompute(function: Function, x: Tensor, stream: DropoutStream | None = None) -> Tensor:
    """function(x), of which only x is kept; backward runs the function a second time, to the same numbers.

    stream: where the function's dropout reads its keys, so that the second run drops the same; that of a module, or
    of a partial call of one, is found without saying.
    A parameter may be used in one recomputed function only, because its gradient is complete at the end of that.
    """
    if not state.recording:
        return function(x)
    module = function.func if isinstance(function, partial) else function
    if stream is None and isinstance(module, Module):
        stream = stream_of(module)
    place = (stream, stream.step, stream.row) if stream else None
    y, saved = recompute_forward(x.data, function, place, state.modules[:])
    output = Tensor(y)
    output.requires_grad = True  # also where x is a constant: the function has parameters
    versions = [(x, x.version)] if x.node is None else []
    args = [x.node or x, function, place, saved[-1]]
    output.node = Node(RECOMPUTE, [source(x)], saved, y.shape, y.dtype, args, {}, versions)
    lock((y, x.data), {id(x.data)} if x.node is None else set())
    return output


def recompute_forward(x: Array, function: Function, place: Any, modules: list[str]) -> tuple[Array, tuple]:
    """y = f(x), of which nothing is recorded."""
    with _inside(modules, recording=False):
        return _at(place, function, Tensor(x)).data, (function, x, place, modules)


def recompute_backward(dy: Array, function: Function, x: Array, place: Any, modules: list[str], collect: Collect
                       ) -> tuple[Array | None]:
    """Run f again, this time recorded, and go backward through it at once: dy  ->  dx.

    collect: what the pass that calls this does with the gradients of leaves, and so of f's parameters.
    """
    leaf = Tensor(x, requires_grad=x.dtype.kind == "f")

    def collect_rest(tensor: Tensor, gradient: Array, free: bool) -> None:
        if tensor is leaf:
            leaf.grad = gradient
        else:
            collect(tensor, gradient, free)

    run_again(leaf, function, place, modules).backward(dy, collect_rest)
    return (leaf.grad,)


def run_again(x: Tensor, function: Function, place: Any, modules: list[str]) -> Tensor:
    """function(x) as in the first run, but with its graph."""
    with _inside(modules, recording=True):  # also where the backward pass was started inside no_grad()
        return _at(place, function, x)


@contextmanager
def _inside(modules: list[str], recording: bool) -> Iterator[None]:
    """As if called inside these modules."""
    around = state.modules, state.recording
    state.modules, state.recording = modules, recording
    try:
        yield
    finally:
        state.modules, state.recording = around


def _at(place: Any, function: Function, x: Tensor) -> Tensor:
    """function(x), with the stream at the place it had in the first run."""
    if place is None:
        return function(x)
    stream, step, row = place
    now = stream.step, stream.row
    stream.seek(step, row)
    try:
        return function(x)
    finally:
        stream.seek(*now)


def recompute_reference(x: Array, function: Function, place: Any, modules: list[str]) -> Array:
    return recompute_forward(x, function, place, modules)[0]


RECOMPUTE = Op(recompute_forward, recompute_backward, ("x",), "y = f(x)", r"dx = J^\top \cdot dy",
               "x (...) -> y (...)", recompute_reference, "Chen et al. 2016 (arXiv:1604.06174)")
