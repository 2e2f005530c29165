"""What one operation costs: the arithmetic of its matrix products, and the bytes it has to move.

A product of (n, k) by (k, m) takes 2 n k m operations. Everything else, such as GELU or a layer norm, does a few
operations for each number it reads, and takes as long as moving the numbers takes: so it is counted in bytes.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, is_array
from minibert.debug.execution import Execution
from minibert.graph import Node
from minibert.nn.recompute import RECOMPUTE, run_again
from minibert.tensor import Tensor


class Cost(NamedTuple):
    """Of one operation. flops: in matrix products, exactly. moved: bytes read and written, each array once."""

    forward_flops: int
    backward_flops: int
    forward_moved: int
    backward_moved: int

    @property
    def flops(self) -> int:
        """Forward and backward."""
        return self.forward_flops + self.backward_flops

    @property
    def moved(self) -> int:
        """Forward and backward."""
        return self.forward_moved + self.backward_moved


def add_costs(costs: Iterable[Cost]) -> Cost:
    """The sum of each kind."""
    return Cost(*map(sum, zip(Cost(0, 0, 0, 0), *costs, strict=True)))


def cost(execution: Execution, node: Node) -> Cost:
    """What the forward and the backward of this operation cost."""
    y, saved = execution.values[node], execution.saved[node]
    if node.op is RECOMPUTE:
        return _recomputed(*saved)
    forward, backward = _flops(node.op.name, execution.arguments(node), saved, y)
    read = [*arrays(execution.arguments(node))]
    written = [y, *(x for x in arrays(saved) if not any(owner(x) is owner(given) for given in [*read, y]))]
    gradients = sum(prod(x.shape) * np.dtype(x.dtype).itemsize for x in node.inputs if x is not None)
    return Cost(forward, backward, _bytes([*read, *written]), _bytes([y, *arrays(saved)]) + gradients)


def arrays(values: Any) -> Iterator[Array]:
    """The arrays among these values, also those inside tuples and lists."""
    for x in values:
        if isinstance(x, tuple | list):
            yield from arrays(x)
        elif is_array(x) and x.ndim:
            yield x


def owner(x: Array) -> Array:
    """The array that holds the memory of x: x itself, or the one that x is a view of."""
    while getattr(x, "base", None) is not None and is_array(x.base):
        x = x.base
    return x


def _bytes(values: Iterable[Array]) -> int:
    return sum(x.nbytes for x in values)


def _flops(name: str, args: list[Any], saved: tuple, y: Array) -> tuple[int, int]:
    """Operations in the matrix products of forward and of backward."""
    if name in ("linear", "linear_gelu"):
        product = 2 * y.size * args[0].shape[-1]
        return product, 2 * product                        # dx = dy W,  dW = dy^T x
    if name == "matmul":
        product = 2 * y.size * args[0].shape[-2 if saved[2] else -1]
        return product, 2 * product                        # da = dy b^T,  db = a^T dy
    if name == "attention":
        product = 2 * y.size * args[1].shape[-2]           # q k^T, and probs v
        return 2 * product, 4 * product                    # dprobs, dv, dq, dk
    return 0, 0


def _recomputed(function: Any, x: Array, place: Any, modules: list[str]) -> Cost:
    """A part of the model that is run forward without a graph, and in backward once more, with one."""
    inner = Execution(run_again(Tensor(x, requires_grad=True), function, place, modules))
    parts = add_costs(cost(inner, node) for node in inner.nodes)
    return Cost(parts.forward_flops, parts.flops, parts.forward_moved, parts.moved)
