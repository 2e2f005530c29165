"""What the training engine itself computes on a graph, without consuming that graph: it runs on a copy."""

import numpy as np

from minibert import graph
from minibert.backend import Array
from minibert.debug.execution import Execution
from minibert.errors import InputError
from minibert.graph import Node, Source, topological_order
from minibert.tensor import Tensor, lock


def engine_gradients(execution: Execution, dy: Array) -> dict[Source, Array]:
    """The gradient of every leaf and every operation's value, by `Tensor.backward`, the very loop that trains.

    dy: where the pass starts from, in the shape of the graph's result.
    Raises InputError when the engine does: when a backward returns a gradient of a wrong shape, for example.
    """
    copies: dict[Source, Source] = {}
    outputs: dict[Source, Tensor] = {}
    for leaf in execution.leaves:
        outputs[leaf] = copies[leaf] = Tensor(execution.values[leaf].copy(), requires_grad=True, name=leaf.name)
    for node in execution.nodes:
        y, saved = execution.forward(node)
        inputs = [None if x is None else copies[x] for x in node.inputs]
        copy = Node(execution.op(node), inputs, saved, y.shape, y.dtype, [], {}, [])
        copy.module, copy._calls = node.module, node._calls
        lock((y, *saved), set())  # as the engine does: a backward that changes what was saved is an error
        copies[node] = copy
        outputs[node] = _output(copy, y)
    before = graph.state.latest
    try:
        outputs[execution.root].backward(dy)
    finally:
        graph.state.latest = before
    return {x: output.grad for x, output in outputs.items() if output.grad is not None}


def _output(node: Node, y: Array) -> Tensor:
    """The value of a copied operation, which keeps its gradient."""
    tensor = Tensor(y)
    tensor.node, tensor.requires_grad = node, True
    return tensor.retain_grad()


def float64_graph(root: Node) -> Execution:
    """The graph below `root`, run again in float64.

    Raises InputError where a part of it is recomputed in its backward pass: that part has its numbers elsewhere.
    """
    for source in topological_order(root):
        if isinstance(source, Node) and "collect" in source.op.wants:
            raise InputError(f"{source} recomputes a part of the model, which cannot be run in float64: build the "
                             f"graph once more with encoder.recompute = False")
    return Execution(root, np.float64)
