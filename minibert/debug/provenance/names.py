"""What the parts of a gradient entry are called, and which nodes a name stands for."""

import difflib

from minibert.debug.execution import Execution, input_name
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.tensor import Tensor

ROLES = {  # what a use is in plain words, by operation and input
    ("embedding", "table"): "lookup in", ("linear", "weight"): "weight of", ("linear", "bias"): "bias of",
    ("linear", "x"): "input to", ("linear_gelu", "weight"): "weight of", ("linear_gelu", "bias"): "bias of",
    ("linear_gelu", "x"): "input to", ("add_norm", "x"): "residual of", ("add_norm", "h"): "sub-layer of",
    ("add_norm", "bias"): "sub-layer bias of", ("add_norm", "gamma"): "gain of", ("add_norm", "beta"): "bias of",
    ("layer_norm", "gamma"): "gain of", ("layer_norm", "beta"): "bias of", ("attention", "q"): "queries of",
    ("attention", "k"): "keys of", ("attention", "v"): "values of", ("getitem", "x"): "picked in"}
LOSSES = {"predictions": "masked LM", "seq_relationship": "next sentence"}  # by the module that the scores come from


def use_name(execution: Execution, node: Node, i: int) -> str:
    """The role of a value in an operation, and where that is: "weight of predictions"."""
    what = input_name(node, i)
    module, _, op = execution.name(node).rpartition(":")
    number = op.removeprefix(node.op.name)  # of several in one module
    if (node.op.name, what) in ROLES and module:
        return f"{ROLES[node.op.name, what]} {module}{number}"
    return f"{what} of {op}" + (f" in {module}" if module else "")


def loss_name(execution: Execution, x: Source) -> str:
    """A term of the loss: by the model's head that its scores come from, where that is known."""
    name, module = execution.name(x), _first_module(x)
    head = module.rpartition(".")[2]
    if head in LOSSES:
        return f"{LOSSES[head]} ({name})"
    return f"{name} of {module}" if module and isinstance(x, Node) and not x.module else name


def _first_module(x: "Source | None") -> str:
    """The module of a value, or of what it was computed from."""
    while isinstance(x, Node) and not x.module:
        x = next((source for source in x.inputs if source is not None), None)
    return x.module if isinstance(x, Node) else ""


def place_name(name: str, number: int, word: str = "") -> str:
    """One place along a coordinate."""
    return f"{name} {number}{f' {word!r}' if word else ''}"


def named_nodes(execution: Execution, what: "str | Node | Tensor") -> tuple[list[Node], str]:
    """The nodes that a name stands for: of a module, those whose values leave it.

    Raises InputError when the graph has no such module, operation, node or tensor.
    """
    if not isinstance(what, str):
        node = what.node if isinstance(what, Tensor) else what
        if not isinstance(node, Node) or node not in execution.values:
            raise InputError(f"{what!r} is no node of this loss: name a module by its path, such as "
                             f"'bert.encoder.layer.0', or an operation, such as 'attention'")
        return [node], execution.name(node)
    nodes = [node for node in execution.nodes if what in (execution.name(node), node.op.name)]
    nodes = nodes or [node for node in execution.nodes if _inside(node, what) and _leaves(execution, node, what)]
    if not nodes:
        modules = list(dict.fromkeys(node.module for node in execution.nodes if node.module))
        close = difflib.get_close_matches(what, modules, 3, 0.0) or ["none, for no module was called"]
        raise InputError(f"this graph has no module or operation {what!r}: the nearest are {', '.join(close)}")
    return nodes, what


def _inside(node: Node, module: str) -> bool:
    return f"{node.module}.".startswith(f"{module}.")


def _leaves(execution: Execution, node: Node, module: str) -> bool:
    """Whether a value is used outside of a module, or is the loss."""
    return node is execution.root or any(not _inside(user, module) for user, _ in execution.uses[node])
