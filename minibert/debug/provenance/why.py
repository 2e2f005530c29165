"""`why(parameter[i, j])`: where one number of a gradient comes from.

    loss.backward()
    answer = why(model.bert.embeddings.word_embeddings.weight[7, 3])
    print(answer)                                        # by use, by loss, by token
    answer.by("example", "position").figure()            # a heat map
    answer.by("use")[0].by("position")                   # terms are split further
    answer.through("bert.encoder.layer.0.attention.self")[0].by("head")
    print(answer.tree())

Every split is exact: its terms sum to the number, which is asserted.  A term can be negative, and larger than the sum.
"""

from collections.abc import Callable

import numpy as np

from minibert.debug.execution import Execution
from minibert.debug.provenance.coordinates import coordinates
from minibert.debug.provenance.routes import Field, Route
from minibert.debug.provenance.term import Question, Term
from minibert.errors import InputError
from minibert.graph import Node, Source, state
from minibert.tensor import Tensor


def why(entry: Tensor, loss: "Tensor | Node | None" = None, *, word: Callable[[int], str] | None = None) -> Term:
    """The gradient of the loss at one number of a parameter, or of any value of the graph, as a term to be split.

    entry: the number, picked out: parameter[i, j].  loss: by default where the last backward pass of this thread
    began.  word: the text of a token's id, to show beside it, such as tokenizer.token.
    Computed in float64 from the graph's leaves, before or after loss.backward(), and nothing is changed by it.
    Raises InputError when there is no loss, when the entry is not a single number that the loss depends on, when a
    leaf was changed since, when the gradient is not finite, or when parts of the graph are recomputed.
    """
    try:
        execution = Execution(_loss(loss), np.float64)
    except InputError as error:
        if loss is None and state.latest() is not None:
            raise InputError(f"{error}; this is of the last backward pass: name another loss, as in "
                             f"why(parameter[i, j], loss)") from error
        raise
    if execution.values[execution.root].size != 1:
        raise InputError(f"why() explains the gradient of a single number, and this loss has shape "
                         f"{execution.root.shape}")
    for node in execution.nodes:
        if "collect" in node.op.wants:
            raise InputError(f"why() has to see every operation, and {execution.name(node)} is recomputed in the "
                             f"backward pass: set recompute = False on the encoder and run the forward pass again")
    target, place = _target(entry, execution)
    field = Field(execution, {execution.root: np.ones_like(execution.values[execution.root])}, frozenset())
    title = f"d loss / d {execution.name(target)}[{', '.join(map(str, place))}]".removesuffix("[]")
    answer = Term(Question(title, _note(target, place), execution, coordinates(execution), word), title,
                  [Route(target, place, (), target, field)])
    if not np.isfinite(answer.value):
        raise InputError(f"{title} is {answer.value}: no sum to take apart; look for the first value that is not "
                         f"finite")
    return answer


def _loss(loss: "Tensor | Node | None") -> "Tensor | Node":
    found = state.latest() if loss is None else loss
    if found is None:
        raise InputError("there is no backward pass to explain: call loss.backward() first and keep the loss, or "
                         "name it, as in why(parameter[i, j], loss)")
    return found


def _target(entry: Tensor, execution: Execution) -> tuple[Source, tuple[int, ...]]:
    """The value that `entry` was picked from, and its place there."""
    indices = []
    source: Source = entry.node or entry
    while source not in execution.values and isinstance(source, Node) and source.op.name == "getitem":
        indices.append(source.args[1])
        source = source.args[0]
    if source not in execution.values:
        raise InputError(_not_found(source))
    places = np.arange(int(np.prod(source.shape))).reshape(source.shape)
    for index in reversed(indices):
        places = places[index]
    if places.ndim:
        raise InputError(f"why() explains one number, and this is an array of shape {places.shape}: pick an entry, as "
                         f"in parameter[{', '.join('0' * len(source.shape))}]")
    return source, tuple(int(i) for i in np.unravel_index(int(places), source.shape))


def _not_found(source: Source) -> str:
    if isinstance(source, Node):
        return (f"{source} has no part in this loss: pick an entry of a parameter, or of a value that the loss was "
                f"computed from")
    if not source.requires_grad:
        return ("the entry has no graph: it requires no gradient, or was picked inside no_grad(); write "
                "why(parameter[i, j]) outside of it")
    return (f"{source.name or 'this tensor'} has no part in this loss, so its gradient is none: check that it belongs "
            f"to the same model, and is not frozen or used inside a recomputed part only")


def _note(target: Source, place: tuple[int, ...]) -> str:
    """What the engine itself has computed."""
    grad = None if isinstance(target, Node) else target.grad
    return "computed in float64" + (
        f"; .grad holds {float(grad[place]):+.3e} ({grad.dtype})" if grad is not None else "")
