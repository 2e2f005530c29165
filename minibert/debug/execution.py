"""A live graph, run again: every value, every gradient, and what each use of a value adds to it.

A graph remembers what its operations were called with, so its leaves are enough to compute everything anew, in the
same order and to the same bits, or in float64, before or after its backward pass. Nothing is changed by looking:
no parameter's `grad`, and not the graph. In its own dtype a graph is run where its arrays are, with the kernels that
made it; in another one on the host, by the formulas.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minibert.backend import Array, is_array, to_host
from minibert.errors import InputError
from minibert.graph import Node, Source, topological_order
from minibert.ops.registry import Op, formula_of
from minibert.tensor import Tensor

NOTHING: Mapping[Source, Array] = {}
Use = tuple[Node, int]  # an operation, and which of its differentiable inputs


class BackwardStep(NamedTuple):
    """One operation's backward: the gradient that came in, and what it adds to the gradient of whom."""

    node: Node
    dy: Array
    added: list[tuple[Source, int, Array]]  # (input, its number among the node's inputs, contribution)


@dataclass
class Gradients:
    """What one backward pass computed: the sum for each value, and its terms, one for each use."""

    of: dict[Source, Array] = field(default_factory=dict)
    terms: dict[Use, Array] = field(default_factory=dict)


class Execution:
    """The graph of `y`, a tensor or an operation, run again.

    dtype: a floating-point type to compute in, such as numpy.float64, in NumPy arrays; by default the graph's own.
    order: leaves and nodes, each after what it was computed from.  values: of each.  saved: what each backward needs.
    uses: who uses a value, in the order of the forward pass.
    Raises InputError when y is no tensor or has no graph, or when a leaf was changed since the graph was made.
    """

    def __init__(self, y: Tensor | Node, dtype: Any = None) -> None:
        check_tensor(y)
        root = y if isinstance(y, Node) else y.node
        if root is None:
            raise InputError("this tensor was not computed from anything that requires a gradient (or inside "
                             "no_grad()), so there is no graph to look into")
        self.root, self.dtype = root, dtype
        self.order = topological_order(root)
        self.nodes = [source for source in self.order if isinstance(source, Node)]
        self.leaves = [source for source in self.order if not isinstance(source, Node)]
        self.uses: dict[Source, list[Use]] = defaultdict(list)
        for node in self.nodes:
            check_unchanged(node)
            for i, x in enumerate(node.inputs):
                if x is not None:
                    self.uses[x].append((node, i))
        self.values: dict[Source, Array] = {leaf: self._cast(leaf.data) for leaf in self.leaves}
        self.saved: dict[Node, tuple] = {}
        for node in self.nodes:
            self.values[node], self.saved[node] = self.forward(node)

    def value(self, x: Any, changed: Mapping[Source, Array]) -> Any:
        """What an argument of an operation stands for: an array for a node or a tensor, anything else itself."""
        if isinstance(x, Node | Tensor):
            array = changed.get(x, self.values.get(x))
            x = x.data if array is None and isinstance(x, Tensor) else array
        return self._cast(x)

    def arguments(self, node: Node, changed: Mapping[Source, Array] = NOTHING) -> list[Any]:
        """What the forward of `node` is called with, apart from `hyper`."""
        return [self.value(x, changed) for x in node.args]

    def hyper(self, node: Node) -> dict[str, Any]:
        """What it is called with by name."""
        return {name: self._cast(x) for name, x in node.hyper.items()}

    def op(self, node: Node) -> Op:
        """What computes this operation here: in another dtype not its CUDA twin, but the formula."""
        return node.op if self.dtype is None else formula_of(node.op)

    def forward(self, node: Node, changed: Mapping[Source, Array] = NOTHING) -> tuple[Array, tuple]:
        """One operation: its value, and what its backward needs."""
        return self.op(node).forward(*self.arguments(node, changed), **self.hyper(node))

    def rerun(self, changed: Mapping[Source, Array]) -> dict[Source, Array]:
        """What would be other values, if the values of some sources were those of `changed`."""
        new = dict(changed)
        for node in self.nodes:
            if node not in changed and any(isinstance(x, Node | Tensor) and x in new for x in node.args):
                new[node] = self.forward(node, new)[0]
        return new

    def root_value(self, changed: Mapping[Source, Array]) -> Array:
        """The value of y, if the values of some sources were those of `changed`."""
        return self.rerun(changed).get(self.root, self.values[self.root])

    def backward_steps(self, start: Node | None = None, dy: Array | None = None) -> Iterator[BackwardStep]:
        """The backward pass from `start` (by default y, with dy = 1), one operation at a time.

        Every operation comes after all those that use its value, so that its gradient is complete.
        """
        start = start or self.root
        pending: dict[Source, Array] = {start: np.ones_like(self.values[start]) if dy is None else dy}
        for node in reversed(self.order):
            if isinstance(node, Node) and node in pending:
                step = self.backward_step(node, pending.pop(node))
                for x, _, dx in step.added:
                    pending[x] = pending[x] + dx if x in pending else dx
                yield step

    def backward_step(self, node: Node, dy: Array) -> BackwardStep:
        """The backward of one operation."""
        rest: list[tuple[Source, int, Array]] = []  # the leaves inside a recomputed part of the model
        extra = {"collect": lambda leaf, dx, free: rest.append((leaf, -1, dx))} if "collect" in node.op.wants else {}
        gradients = self.op(node).backward(dy, *self.saved[node], **extra)
        return BackwardStep(node, dy, [(x, i, dx) for i, (x, dx) in enumerate(zip(node.inputs, gradients, strict=True))
                                       if x is not None and dx is not None] + rest)

    def backward(self, start: Node | None = None, dy: Array | None = None) -> Gradients:
        """A whole backward pass; see backward_steps."""
        start = start or self.root
        found = Gradients({start: np.ones_like(self.values[start]) if dy is None else dy})
        for step in self.backward_steps(start, dy):
            for x, i, dx in step.added:
                found.of[x] = found.of[x] + dx if x in found.of else dx
                found.terms[step.node, i] = dx
        return found

    def name(self, x: Source) -> str:
        """A leaf's name, or an operation with the module it was called in; numbered where there are several."""
        if not isinstance(x, Node):
            return x.name or f"leaf {self.leaves.index(x)}"
        twins = [node for node in self.nodes if (node.module, node.op.name) == (x.module, x.op.name)]
        number = f"[{twins.index(x)}]" if len(twins) > 1 else ""
        return f"{x.module}:{x.op.name}{number}" if x.module else f"{x.op.name}{number}"

    def _cast(self, x: Any) -> Any:
        if self.dtype is None:
            return x
        x = on_host(x)
        return x.astype(self.dtype) if is_array(x) and x.dtype.kind == "f" else x


def on_host(x: Any) -> Any:
    """An array, or those in a tuple, as NumPy's; anything else as it is."""
    if isinstance(x, tuple):
        return x._make(map(on_host, x)) if hasattr(x, "_make") else tuple(map(on_host, x))
    return to_host(x) if is_array(x) else x


def input_name(node: Node, i: int) -> str:
    """What the operation calls its differentiable input number i."""
    return f"{node.op.inputs[0]}[{i}]" if node.op.variadic else node.op.inputs[i]


def check_tensor(y: Any) -> None:
    """Raise InputError when y is neither a tensor nor an operation of a graph."""
    if not isinstance(y, Tensor | Node):
        hint = "pass its loss, output.loss" if hasattr(y, "loss") else "pass the loss, such as model(**batch).loss"
        raise InputError(f"a {type(y).__name__} is no tensor and has no graph to look into: {hint}")


def check_unchanged(node: Node) -> None:
    """Raise InputError when a leaf that `node` used has other numbers now."""
    for x, version in node.versions:
        if x.version != version:
            raise InputError(f"{x.name or 'a leaf'} was changed after {node} had used it, so the graph cannot be run "
                             f"again: look into it before the optimiser's step, or run the forward pass once more")
