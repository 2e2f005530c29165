"""What goes several ways forward is summed backward: is it?"""

from itertools import combinations

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.fault import close
from minibert.debug.checking.finding import Finding
from minibert.debug.execution import Execution, Use, input_name
from minibert.graph import Node, Source

MOST_USES = 12  # of which every combination is tried


def check_fork(execution: Execution, gradients: dict[Source, Array], x: Source) -> Finding | None:
    """Whether the engine's gradient of x is the sum of what each use of x gives; None where it is.

    gradients: the engine's, of every value.
    """
    terms = _terms(execution, gradients, x)
    if not terms or close(gradients.get(x, np.zeros_like(execution.values[x])), sum(terms.values())):
        return None
    name, uses = execution.name(x), list(terms)
    there = _those_there(terms, gradients[x]) if x in gradients else ()
    place = f", called at {x.line}," if isinstance(x, Node) else ""
    times = "once" if len(uses) == 1 else f"{len(uses)} times"
    headline = f"first wrong sum: the gradient of {name}{place} used {times}, is not the sum of what its uses give"
    if there is None:
        details = ["no part of these sums up to it, either:", *(_describe(execution, *use) for use in uses)]
        return Finding("fork", headline, uses[0][0], name, tuple(details))
    missing = [use for use in uses if use not in there]
    details = [f"{'missing' if use in missing else 'there'}: {_describe(execution, *use)}" for use in uses]
    return Finding("fork", headline, missing[0][0], name, tuple(details))


def _terms(execution: Execution, gradients: dict[Source, Array], x: Source) -> dict[Use, Array]:
    """What each use of x gives, if the gradient of its result is the engine's."""
    found = {}
    for node in dict.fromkeys(node for node, _ in execution.uses[x]):
        if node in gradients:
            step = execution.backward_step(node, gradients[node])
            found.update({(node, i): dx for source, i, dx in step.added if source is x})
    return found


def _those_there(terms: dict[Use, Array], dx: Array) -> tuple[Use, ...] | None:
    """The uses whose contributions, and no others, are in dx."""
    for count in range(1, len(terms) if len(terms) <= MOST_USES else 2):
        for uses in combinations(terms, count):
            if close(dx, sum(terms[use] for use in uses)):
                return uses
    return None


def _describe(execution: Execution, node: Node, i: int) -> str:
    return f"{input_name(node, i)} of {execution.name(node)}, called at {node.line}"
