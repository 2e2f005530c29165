"""What moves a loss, and yet gets no gradient of it: a graph that was cut by `.data`, `detach` or no_grad."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibert.backend import Array, beside, is_array, to_host
from minibert.debug.checking.comparison import CheckReport, Claim
from minibert.debug.checking.finding import Finding
from minibert.debug.checking.joint import compare_jointly
from minibert.debug.execution import Execution, check_tensor, input_name
from minibert.errors import InputError
from minibert.graph import Node, Source, no_grad
from minibert.nn.dropout import stream_of
from minibert.nn.module import Module, Parameter
from minibert.tensor import Tensor

Loss = Callable[[], Tensor]
SAME = 1e-5  # relative: how near the numbers of a constant are to those of a float32 value that was computed again


def check_constants(execution: Execution, model: Module | None, dy: Array, seed: int) -> Finding | None:
    """The last operation that was given the numbers of a parameter or of another result as a constant.

    None where there is none, or where they do not move the result.
    """
    known: dict[str, Array] = {execution.name(x): execution.values[x] for x in execution.order}
    tables: dict[str, Array] = {execution.name(leaf): execution.values[leaf] for leaf in execution.leaves}
    tables |= {p.name or name: to_host(p.data).astype(np.float64)
               for name, p in model.named_parameters()} if model else {}
    for node in reversed(execution.nodes):
        for i, source in enumerate(node.inputs):
            place = i if node.op.variadic else node.op.positions[i]
            if source is None and place < len(node.args):
                origin = _origin(execution.arguments(node)[place], known, tables)
                finding = _cut_finding(execution, node, i, place, origin, dy, seed) if origin else None
                if finding:
                    return finding
    return None


def check_parameters(f: Loss, model: Module, execution: Execution, gradients: dict[Source, Array], dy: Array,
                     seed: int) -> Finding | None:
    """The first parameter along which the loss does not move as its gradient says; None where there is none.

    gradients: the engine's, which are right as far as the graph goes.
    """
    names = {p: p.name or name for name, p in model.named_parameters()}
    found = {p: gradients[p] for p in names if p in gradients}

    def terms(moved: dict[Parameter, Array]) -> Array:
        with _holding(moved), no_grad():
            y = to_host(f().data)
            return y * dy.astype(y.dtype)  # in the dtype of y, which says how much is lost by rounding
    numbers = {p: to_host(p.data) for p in names}
    if compare_jointly("", numbers, found, terms, seed).verdict == "ok":
        return None
    for p, name in names.items():
        row = compare_jointly(name, {p: numbers[p]}, found, terms, seed)
        if row.verdict == "WRONG":
            uses = [f"a use in the graph: {input_name(node, i)} of {execution.name(node)}, called at {node.line}"
                    for node, i in execution.uses.get(p, [])]
            headline = (f"cut: the loss moves with {name} otherwise than its gradient says, so one of its uses is not "
                        f"in the graph" if uses else
                        f"cut: the loss moves with {name}, which gets no gradient: no graph leads to it")
            evidence = CheckReport(f"d(loss) / d({name})", execution.root.line, (row,))
            return Finding("cut", headline, None, name, tuple(uses), evidence)
    return None


def unreached(execution: Execution, model: Module | None) -> list[str]:
    """A note on parameters that the graph does not lead to: unused, or cut, which only a function can tell."""
    names = [p.name or name for name, p in model.named_parameters() if p not in execution.values] if model else []
    return [f"no gradient reaches {', '.join(names)}: unused, or cut; bisect(f, model) with a function f that computes "
            f"the loss tells which"] if names else []


@contextmanager
def replayed(f: Loss, model: Module) -> Iterator[Loss]:
    """f, with the same dropout each time it is called; in float64, unless it holds constants of another type.

    Raises InputError when it gives two results for the same parameters.
    """
    stream, before = stream_of(model), {p: p.data for p in model.parameters()}
    place = (stream.step, stream.row) if stream else (0, 0)

    def again() -> Tensor:
        if stream:
            stream.seek(*place)
        y = f()
        check_tensor(y)
        return y
    try:
        if not np.array_equal(to_host(again().data), to_host(again().data), equal_nan=True):
            raise InputError("the function gave two different results for the same parameters, so it has no slope: "
                             "hold its randomness fixed")
        with _holding({p: x.astype(np.float64) for p, x in before.items()}) as hold:
            try:
                again()
            except InputError:
                hold(before)
            yield again
    finally:
        if stream:
            stream.seek(*place)


@contextmanager
def _holding(numbers: dict[Parameter, Array]) -> Iterator[Callable[[dict[Parameter, Array]], None]]:
    """Let parameters hold these numbers for a while; what is yielded lets them hold others."""
    before = {p: p.data for p in numbers}

    def hold(arrays: dict[Parameter, Array]) -> None:
        for p, x in arrays.items():
            p.data = beside(x, before[p])
    try:
        hold(numbers)
        yield hold
    finally:
        hold(before)


def _origin(x: Any, known: dict[str, Array], tables: dict[str, Array]) -> str:
    """Whose numbers these are: a known value's, or rows of a table; not if all are alike, as zeros are by chance."""
    if not is_array(x) or x.dtype.kind != "f" or x.size < 2 or (x == x.flat[0]).all():
        return ""
    for name, value in (known | tables).items():
        if x.shape == value.shape and np.linalg.norm(x - value) <= SAME * np.linalg.norm(value):
            return f"the numbers of {name}"
    for name, table in tables.items():
        if table.ndim == 2 and x.ndim > 1 and x.shape[-1] == table.shape[-1] > 1:
            rows = {row.tobytes() for row in table}
            if all(row.tobytes() in rows for row in x.reshape(-1, x.shape[-1])):
                return f"rows of {name}"
    return ""


def _cut_finding(execution: Execution, node: Node, i: int, place: int, origin: str, dy: Array, seed: int
                 ) -> Finding | None:
    """The finding, if moving what `node` was given as a constant moves the result."""
    args = execution.arguments(node)

    def terms(x: Array) -> Array:
        y = execution.op(node).forward(*args[:place], x, *args[place + 1:], **execution.hyper(node))[0]
        return np.asarray(execution.root_value({node: y}) * dy)
    x = args[place]
    row = Claim(input_name(node, i), x, np.zeros_like(x), terms).directions(np.random.default_rng(seed), 1)[0]
    if row.verdict != "WRONG":
        return None
    where = f" in {node.module}" if node.module else ""
    headline = f"cut: {node.op.name}{where}, called at {node.line}, was given {origin}, as a constant"
    details = (f"its input {row.input} moves the result, and no gradient goes there: look for .data, detach() or "
               f"no_grad() on the way to it",)
    evidence = CheckReport(f"{execution.name(node)}, d{row.input}", node.line, (row,))
    return Finding("cut", headline, node, row.input, details, evidence)
