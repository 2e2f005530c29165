"""The other direction: how a value moves when one number below it does, where that is exact.

Many operations are affine in each of their inputs: a linear map in its weight, a lookup in its table, a normalisation
in its gain.  A step there moves the output in proportion, so that two forward passes give the slope itself:

    (1)  dy = (f(x + h dx) - f(x)) / h,  the same for any h

One such slope answers for all places of a value at once, for which pulling gradients down takes a pass a place.
"""

from collections.abc import Iterable, Mapping

from minibert.backend import Array
from minibert.debug.execution import Execution, input_name
from minibert.graph import Node

STEP = 2.0**30  # h: large, so that the value is lost in its movement rather than the movement in the value
JOINTLY = ("add", "subtract", "concatenate")  # affine in all inputs together; those below in one at a time
AFFINE = {
    "embedding": ("table",), "linear": ("x", "weight", "bias"), "matmul": ("a", "b"), "multiply": ("x", "y"),
    "divide": ("x",), "layer_norm": ("gamma", "beta"), "add_norm": ("gamma", "beta"), "attention": ("v",),
    **dict.fromkeys(("getitem", "reshape", "transpose", "broadcast_to", "split_heads", "merge_heads", "dropout", "sum",
                     "mean"), ("x",))}


def is_affine(node: Node, inputs: Iterable[int]) -> bool:
    """Whether the operation is known to be affine in these inputs, when they move together."""
    names = [input_name(node, i) for i in inputs]
    return node.op.name in JOINTLY or (len(names) == 1 and names[0] in AFFINE.get(node.op.name, ()))


def push(execution: Execution, node: Node, moves: Mapping[int, Array]) -> Array | None:
    """(1) of one operation, whose inputs move by `moves`; None where it is not known to be affine in them."""
    if not is_affine(node, moves):
        return None
    args = execution.arguments(node)
    for i, dx in moves.items():
        place = i if node.op.variadic else node.op.positions[i]
        args[place] = args[place] + STEP * dx
    return (execution.op(node).forward(*args, **execution.hyper(node))[0] - execution.values[node]) / STEP
