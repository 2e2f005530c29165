"""Is this gradient right?  Analytic beside numeric, at any place of a live graph, before or after its backward pass.

    check(y)                                   the operation that made y: its backward against its forward
    check(y, input="weight", index=(3, 5))     a single number;  entries=True: every one
    check(loss, at=h)                          through the graph: the engine's own d(loss)/dh, h inside it or a leaf

Everything is computed in float64, on copies: neither the graph nor any `grad` is changed.  The numeric slope says for
itself how far off it may be, by truncation and by round-off: see `minibert.debug.checking.slope`.  Where a CUDA twin
computed the operation, the slope is the formula's, and the twin is compared with the formula: see `.twin`.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.comparison import CheckReport, Claim, Comparison
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.checking.replica import engine_gradients, float64_graph
from minibert.debug.checking.twin import check_twin
from minibert.debug.execution import Execution, check_tensor, input_name
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.tensor import Tensor, lock

MOST_ENTRIES = 10_000


def check(x: Node | Tensor, *, at: Node | Tensor | None = None, input: str | None = None,
          index: tuple[int, ...] | None = None, entries: bool = False, directions: int = 3,
          seed: int = 0) -> CheckReport:
    """The backward of an operation, or with `at` the gradient of x by `at`, beside slopes of the forward pass.

    x: an operation of a graph, or a tensor one made.  at: a tensor or an operation of the graph of x.
    input: only this input of the operation.  index: only this number of it; entries: each number; by default all
    numbers at once, along some random directions.  The incoming gradient is random, and 1 for a loss with `at`.
    Raises InputError when x has no graph, when a leaf was changed since, when a part of the model is recomputed in
    backward, or when `at`, `input` or `index` name nothing there.
    """
    check_tensor(x)
    root = x if isinstance(x, Node) else x.node
    if directions < 1:
        raise InputError(f"directions must be at least 1, not {directions}: without one, nothing is checked")
    if root is None:
        raise InputError("no operation made this tensor: check the result of one, or check(loss, at=tensor) for the "
                         "gradient of a leaf")
    execution = float64_graph(root)
    rng = np.random.default_rng(seed)
    if at is not None:
        if input is not None:
            raise InputError("input names an input of one operation, and at a value of a graph: give one of the two")
        claims = [graph_claim(execution, _member(execution, at), rng)]
        title = f"d({execution.name(root)}) / d({claims[0].name}), by the engine"
    else:
        claims = _chosen(root, list(pair_claims(execution, root, rng)), input)
        title = f"{root.op.name} in {root.module}" if root.module else root.op.name
        title += f", d{claims[0].name}" if len(claims) == 1 else ""
    if index is not None and len(claims) > 1:
        raise InputError(f"index says which number, but not of which input: pass input as well, one of "
                         f"{', '.join(claim.name for claim in claims)}")
    rows = [row for claim in claims for row in _rows(claim, index, entries, directions, rng)]
    if at is None:
        rows += [row for row in check_twin(execution, root, seed) if input in (None, row.input)]
    return CheckReport(title, root.line, tuple(rows))


def pair_claims(execution: Execution, node: Node, rng: np.random.Generator) -> Iterator[Claim]:
    """What the backward of one operation says of each of its inputs that need a gradient, for a random dy."""
    op, args, hyper = execution.op(node), execution.arguments(node), execution.hyper(node)
    y, saved = op.forward(*args, **hyper)
    dy = random_like(rng, y.shape)
    lock((dy, *saved), set())  # a backward that changes what it was given would spoil the gradients of others
    gradients, failure = (), ""
    try:
        gradients = op.backward(dy, *saved)
    except Exception as error:
        failure = f"its backward raised {type(error).__name__}: {error}"
    for i, source in enumerate(node.inputs):
        if source is not None:
            place = i if node.op.variadic else node.op.positions[i]
            dx = gradients[i] if i < len(gradients) else None

            def terms(x: Array, place: int = place) -> Array:
                return np.asarray(op.forward(*args[:place], x, *args[place + 1:], **hyper)[0] * dy)
            yield Claim(input_name(node, i), args[place], dx, terms, failure)


def graph_claim(execution: Execution, source: Source, rng: np.random.Generator) -> Claim:
    """What the engine says of one value of a graph."""
    y = execution.values[execution.root]
    dy = np.ones_like(y) if y.size == 1 else random_like(rng, y.shape)
    dx = engine_gradients(execution, dy).get(source)
    return Claim(execution.name(source), execution.values[source], dx, through(execution, source, dy))


def through(execution: Execution, source: Source, dy: Array) -> Callable[[Array], Array]:
    """The result of a graph, weighted by dy, as a function of one of its values."""
    return lambda x: np.asarray(execution.root_value({source: x}) * dy)


def _member(execution: Execution, x: Node | Tensor) -> Source:
    """The place of x in this graph."""
    check_tensor(x)
    source = x if isinstance(x, Node) or x.node is None else x.node
    if source not in execution.values:
        name = "the operation" if isinstance(source, Node) else source.name or "the tensor"
        raise InputError(f"no gradient reaches {name} given as at: the graph of {execution.name(execution.root)} does "
                         f"not hold it, or it needs none; bisect(f, model) finds where a graph is cut")
    return source


def _chosen(node: Node, claims: list[Claim], name: str | None) -> list[Claim]:
    """The claims of the input with this name."""
    chosen = [claim for claim in claims if name in (None, claim.name)]
    if not chosen:
        raise InputError(f"{node.op.name} has no input {name!r} that needs a gradient here: choose one of "
                         f"{', '.join(claim.name for claim in claims)}")
    return chosen


def _rows(claim: Claim, index: tuple[int, ...] | None, entries: bool, directions: int,
          rng: np.random.Generator) -> list[Comparison]:
    """One number, every number, or some directions."""
    shape = claim.x.shape
    if index is not None:
        if np.shape(index) != (len(shape),) or any(i not in range(-n, n) for i, n in zip(index, shape, strict=True)):
            raise InputError(f"index {index} is no number of {claim.name}, which has shape {shape}")
        return [claim.entry(tuple(i % n for i, n in zip(index, shape, strict=True)))]
    if entries and claim.x.size > MOST_ENTRIES:
        raise InputError(f"{claim.name} has {claim.x.size:,} numbers, and checking each would take too long: name "
                         f"one by input and index, or leave entries out")
    return [claim.entry(i) for i in np.ndindex(shape)] if entries else claim.directions(rng, directions)
