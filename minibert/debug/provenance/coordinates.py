"""Which example, position, token, head and feature every number of a graph belongs to.

A coordinate is an array of integers in the shape of a value: the position of each of its numbers, say.  Coordinates
begin where ids are looked up, and go through the graph with the values:

    embedding            ids (T,) give position, ids (B, T) example and position; the ids themselves are the token
    linear*, matmul      what is the same along the axis that is summed over stays; the new axis is the feature
    sum, mean, max       what is the same along the axes that are reduced stays
    getitem, split_heads, reshape, ...   moves of numbers, and coordinates are moved in the same way
    anything else        stays, where the inputs agree
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.execution import Execution
from minibert.graph import Node, Source

Names = dict[str, Array]  # of one value: read-only arrays of its shape
SHARED = ("example", "position", "token", "segment")  # these mean the same everywhere in the graph
IDS = {"word_embeddings": "token", "token_type_embeddings": "segment"}  # what a module looks up by
MOVES = ("getitem", "reshape", "transpose", "broadcast_to", "split_heads", "merge_heads")
REDUCTIONS = ("sum", "mean", "max")


def coordinates(execution: Execution) -> dict[Source, Names]:
    """The coordinates of the value of every node that has some."""
    found: dict[Source, Names] = {}
    for node in execution.nodes:
        args = [found.get(x, {}) if isinstance(x, Node) else {} for x in node.args]
        found[node] = _of_node(execution, node, args)
    return found


def _of_node(execution: Execution, node: Node, args: list[Names]) -> Names:
    """The coordinates of one value, from those of the operation's arguments."""
    op = node.op.name
    if op == "embedding":
        return _looked_up(node, execution.value(node.args[1], {}))
    if op in ("linear", "linear_gelu"):
        x = _same_along(args[0] or _of_data(node.args[0]), (-1,))
        return _widened(x, node.shape) | {"feature": along(node.shape, -1)}
    if op == "matmul":
        a, b = (_operand(node, k, names) for k, names in enumerate(args[:2]))
        return _widened(_same_along(b, (-2,)), node.shape) | _widened(_same_along(a, (-1,)), node.shape)
    if op == "attention":
        return _agreed(args[:1], node.shape)
    if op in MOVES:
        extra = {"head": along(node.shape, 1)} if op == "split_heads" else {}
        return {name: execution.op(node).forward(c, *execution.arguments(node)[1:],
                                                 **execution.hyper(node))[0] for name, c in args[0].items()} | extra
    if op in REDUCTIONS:
        return _reduced(args[0], node)
    if op == "concatenate":
        return {name: execution.op(node).forward(*(x[name] for x in args), **execution.hyper(node))[0]
                for name in args[0] if all(name in x for x in args)}
    return _agreed(args, node.shape)


def along(shape: tuple[int, ...], axis: int) -> Array:
    """0, 1, 2, ... along one axis of `shape`, the same along all others."""
    lengths = [1] * len(shape)
    lengths[axis] = -1
    return np.broadcast_to(np.arange(shape[axis]).reshape(lengths), shape)


def _looked_up(node: Node, ids: Array) -> Names:
    """Of rows of a table."""
    names: Names = {"feature": along(node.shape, -1)}
    if ids.ndim in (1, 2):
        names["position"] = along(node.shape, -2)
    if ids.ndim == 2:
        module = node.module.rpartition(".")[2]
        names["example"] = along(node.shape, 0)
        names[IDS.get(module, module or "id")] = np.broadcast_to(ids[..., None], node.shape)
    return names


def _of_data(x: Any) -> Names:
    """Of numbers that come from outside, not from a table: x (B, I) or (B, T, I)."""
    if isinstance(x, Node) or getattr(x, "requires_grad", False):
        return {}
    axes = {2: ("example",), 3: ("example", "position")}.get(x.ndim, ())
    return {name: along(x.shape, axis) for axis, name in enumerate(axes)}


def _same_along(names: Names, axes: Iterable[int]) -> Names:
    """Those coordinates that do not change along some axes, which have length 1 after this."""
    kept = {}
    for name, c in names.items():
        first = c
        for axis in axes:
            first = first.take([0], axis) if first.shape[axis] else first
        if np.array_equal(np.broadcast_to(first, c.shape), c):
            kept[name] = first
    return kept


def _widened(names: Names, shape: tuple[int, ...]) -> Names:
    return {name: np.broadcast_to(c, shape) for name, c in names.items()}


def _reduced(names: Names, node: Node) -> Names:
    """After a sum, a mean or a maximum."""
    axis, keepdims = node.hyper.get("axis"), node.hyper.get("keepdims", False)
    x_shape = next(iter(names.values())).shape if names else ()
    axes = range(len(x_shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    kept = _same_along(names, axes)
    return {name: c if keepdims else c.reshape(node.shape) for name, c in kept.items()}


def _agreed(args: Iterable[Names], shape: tuple[int, ...]) -> Names:
    """Coordinates that stretch to `shape`, and are the same wherever several inputs have them."""
    found: Names = {}
    differ = set()
    for names in args:
        for name, c in names.items():
            if not _stretches(c.shape, shape):
                continue
            wide = np.broadcast_to(c, shape)
            if name in found and not np.array_equal(found[name], wide):
                differ.add(name)
            found[name] = wide
    return {name: c for name, c in found.items() if name not in differ}


def _stretches(small: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be broadcast to another."""
    return len(small) <= len(shape) and all(n in (1, m) for n, m in zip(small[::-1], shape[::-1], strict=False))


def _operand(node: Node, k: int, names: Names) -> Names:
    """Of operand k of a matrix product, which may be transposed first."""
    names = names or _of_data(node.args[k])
    flag = node.args[2 + k] if len(node.args) > 2 + k else node.hyper.get(("ta", "tb")[k], False)
    return {name: c.swapaxes(-1, -2) for name, c in names.items()} if flag else names
