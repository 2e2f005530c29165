"""Which operation of a graph is the first whose gradient is wrong?

    bisect(loss)                                          the graph of a loss
    bisect(lambda: model(**batch).loss, model)            also what never came into the graph

Backward runs from the loss to the leaves, so a gradient that is wrong at a leaf has become wrong somewhere on the
way: between a value whose gradient is right and the next, whose gradient is wrong, stands the culprit.  It is looked
for as in a sorted list, with a slope of the loss at one value in the middle each time, and then confirmed by itself.
Four things can be wrong: the pair of an operation, the sum at a fork, a graph that is cut, or on a GPU the kernels
that take the place of a formula.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.check import pair_claims
from minibert.debug.checking.comparison import CheckReport, Claim, Comparison
from minibert.debug.checking.cut import check_constants, check_parameters, replayed, unreached
from minibert.debug.checking.fault import fault
from minibert.debug.checking.finding import Finding
from minibert.debug.checking.fork import check_fork
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.checking.joint import compare_jointly
from minibert.debug.checking.replica import engine_gradients, float64_graph
from minibert.debug.checking.twin import check_twin
from minibert.debug.execution import Execution, check_tensor
from minibert.debug.formulas import as_text
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.nn.module import Module
from minibert.tensor import Tensor


def bisect(loss: Tensor | Callable[[], Tensor], model: Module | None = None, *, seed: int = 0) -> Finding:
    """The operation nearest to the loss whose gradient is wrong, and in what way.

    loss: a tensor with a graph, before or after backward; or a function of no arguments that computes one, which is
    called many times.  model: whose parameters ought to get gradients; with a function, each is moved, and the loss
    must move as its gradient says.  Nothing is changed: no parameter, no `grad`, no place in the stream of dropout.
    Raises InputError when there is no graph, when a leaf was changed since, when a part of the model is recomputed in
    backward, or when the function is none of its parameters alone.
    """
    if isinstance(loss, Tensor) or not callable(loss):
        finding, execution, *_ = _of_graph(loss, model, seed)
        return replace(finding, notes=(*finding.notes, *unreached(execution, model)))
    if model is None:
        raise InputError("bisect(f) needs the model whose parameters f reads: bisect(f, model)")
    with replayed(loss, model) as f:
        finding, execution, gradients, dy = _of_graph(f(), model, seed)
        return finding if not finding.ok else check_parameters(f, model, execution, gradients, dy, seed) or finding


def _of_graph(y: Tensor, model: Module | None, seed: int
              ) -> tuple[Finding, Execution, dict[Source, Array], Array]:
    """What is wrong in the graph of y; and the graph, the engine's gradients, and where they start."""
    check_tensor(y)
    if y.node is None:
        raise InputError("the loss was not computed from anything that requires a gradient, or inside no_grad()")
    execution = float64_graph(y.node)
    value = execution.values[execution.root]
    dy = np.ones_like(value) if value.size == 1 else random_like(np.random.default_rng(seed), value.shape)
    try:
        gradients = engine_gradients(execution, dy)
    except Exception as error:
        found = Search(execution, {}, dy, seed).wrong_pair(execution.nodes)
        if found is None:
            raise
        return replace(found, notes=(f"the engine itself says: {error}",)), execution, {}, dy
    search = Search(execution, gradients, dy, seed)
    finding = search.run() or check_constants(execution, model, dy, seed) or search.wrong_twin()
    forks = sum(len(uses) > 1 for uses in execution.uses.values())
    counts = f"{len(execution.nodes)} operations and {forks} forks"
    right = Finding("ok", f"nothing is wrong in {counts}, as far as can be told" if search.undecided else
                    f"all {counts} are right")
    return replace(finding or right, notes=tuple(dict.fromkeys(search.undecided))), execution, gradients, dy


class Search:
    """The search in one graph.  gradients: the engine's, of every value.  undecided: what cannot be told."""

    def __init__(self, execution: Execution, gradients: dict[Source, Array], dy: Array, seed: int) -> None:
        self.execution, self.gradients, self.dy, self.seed = execution, gradients, dy, seed
        self.undecided: list[str] = []

    def run(self) -> Finding | None:
        """The first thing that is wrong; None where nothing is."""
        x = self.first_wrong_value()
        found = self.diagnosis(x) if x is not None else None
        if found is None:  # nothing, or nothing that alone explains it: look at everything
            return self.wrong_pair(self.execution.nodes) or self.wrong_fork()
        if found.node is None or found.kind != "pair":
            return found
        nearer = self.execution.nodes[self.execution.nodes.index(found.node) + 1:]
        return self.wrong_pair(nearer) or found

    def first_wrong_value(self) -> "Source | None":
        """A value whose gradient is wrong while the gradients of all that use it are right."""
        suspects: list[Source] = [*self.execution.leaves]
        if not self.is_wrong(suspects):
            return None
        while len(suspects) > 1:
            half = suspects[:len(suspects) // 2]
            suspects = half if self.is_wrong(half) else suspects[len(half):]
        way = self._between(suspects[0])
        right, wrong = 0, len(way) - 1
        while wrong - right > 1:
            middle = (right + wrong) // 2
            right, wrong = (right, middle) if self.is_wrong([way[middle]]) else (middle, wrong)
        x, users = way[wrong], self.execution.uses
        while worse := [node for node, _ in users[x] if self.is_wrong([node])]:  # beside the way, where it forked
            x = worse[-1]
        return x

    def is_wrong(self, sources: Sequence[Source]) -> bool:
        """Whether the engine's gradients of these are wrong: the slope of the result, all of them moved at once."""
        moved = {x: self.execution.values[x] for x in sources}
        return compare_jointly("", moved, self.gradients, lambda new: self.execution.root_value(new) * self.dy,
                               self.seed).verdict == "WRONG"

    def diagnosis(self, x: Source) -> Finding | None:
        """What is wrong with x by itself, if the gradients of all that use it are right."""
        users = list(dict.fromkeys(node for node, _ in self.execution.uses[x]))
        return self.wrong_pair(users) or check_fork(self.execution, self.gradients, x)

    def wrong_pair(self, nodes: Sequence[Node]) -> Finding | None:
        """The last of these operations whose backward is not the slope of its forward."""
        for node in reversed(nodes):
            rng = np.random.default_rng(self.seed)
            claims = list(pair_claims(self.execution, node, rng))
            rows = [row for claim in claims for row in claim.directions(rng, 1)]
            name = self.execution.name(node)
            self.undecided += [f"undecided: d{row.input} of {name}, {row.doubt}" for row in rows if row.doubt]
            wrong = [claim for claim, row in zip(claims, rows, strict=True) if row.verdict == "WRONG"]
            if wrong:
                return self._pair_finding(node, claims, wrong, rows)
        return None

    def wrong_fork(self) -> Finding | None:
        """The last value whose gradient is not the sum of its contributions."""
        found = (check_fork(self.execution, self.gradients, x) for x in reversed(self.execution.order))
        return next((finding for finding in found if finding), None)

    def wrong_twin(self) -> Finding | None:
        """The last operation whose CUDA twin computes other numbers than its formula."""
        for node in reversed(self.execution.nodes):
            if rows := check_twin(self.execution, node, self.seed):
                place = f" in {node.module}" if node.module else ""
                evidence = CheckReport(self.execution.name(node), node.line, tuple(rows))
                return Finding("twin", f"first wrong operation: the CUDA twin of {node.op.name}{place}, called at "
                                       f"{node.line}", node, rows[0].input, evidence=evidence)
        return None

    def _pair_finding(self, node: Node, claims: list[Claim], wrong: list[Claim], rows: list[Comparison]) -> Finding:
        place = f" in {node.module}" if node.module else ""
        details = [f"d{claim.name}: {fault(self.execution, node, claims, claim)}" for claim in wrong]
        details.append(f"by the book: {as_text(node.op.gradient)}")
        evidence = CheckReport(self.execution.name(node), node.line, tuple(rows))
        return Finding("pair", f"first wrong operation: {node.op.name}{place}, called at {node.line}", node,
                       wrong[0].name, tuple(details), evidence)

    def _between(self, leaf: Source) -> list[Source]:
        """The result, the leaf, and all that was computed from it, in the order of backward."""
        below = {leaf}
        for node in self.execution.nodes:
            if any(x in below for x in node.inputs):
                below.add(node)
        return [x for x in reversed(self.execution.order) if x in below]
