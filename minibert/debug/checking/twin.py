"""Does the CUDA twin of an operation compute what its formula does?

A graph is checked in float64, where formulas take the place of twins, so a wrong kernel would go unseen. Each twin that
made a part of the graph is therefore computed once more, as it was, beside its formula.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minibert.backend import Array, is_array, to_device
from minibert.debug.checking.comparison import Comparison
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.execution import Execution, input_name, on_host
from minibert.graph import Node
from minibert.ops.registry import Op, formula_of

ROUNDING = 1e-3  # of an array's largest number: far more than float32 and another order of sums change
ALONG = "CUDA twin"


def check_twin(execution: Execution, node: Node, seed: int = 0) -> list[Comparison]:
    """A row for the value, and for each gradient, of which the twin that computed `node` makes something else.

    execution: of its graph, in float64.  Empty where the twin is right, and where there is none.
    """
    formula = formula_of(node.op)
    if formula is node.op:
        return []
    single = [_cast(x, node.dtype) for x in execution.arguments(node)]
    dy = random_like(np.random.default_rng(seed), node.shape).astype(node.dtype)
    with np.errstate(all="ignore"):
        right = _computed(formula, [_cast(x, np.float64) for x in (dy, *single)], execution.hyper(node))
    there = [to_device(x, "cuda") if is_array(x) and x.dtype.kind == "f" else x for x in (dy, *single)]
    names = [node.op.output, *(input_name(node, i) for i in range(len(node.inputs)))]
    return [Comparison(name, ALONG, problem=f"its CUDA twin is off by {apart:.0e} of the largest number of the formula")
            for name, apart in _apart(names, _computed(node.op, there, execution.hyper(node)), right)
            if not apart <= ROUNDING]


def _computed(op: Op, given: Sequence[Any], hyper: dict[str, Any]) -> list[Array | None]:
    """The value and the gradients, on the host; given: dy, and the arguments."""
    y, saved = op.forward(*given[1:], **hyper)
    return [on_host(x) for x in (y, *op.backward(given[0], *saved))]


def _apart(names: Sequence[str], mine: Sequence[Array | None], right: Sequence[Array | None]
           ) -> Iterator[tuple[str, float]]:
    for name, x, formula in zip(names, mine, right, strict=False):
        if x is not None and formula is not None and formula.size:
            yield name, float(np.abs(x - formula).max()) / (float(np.abs(formula).max()) or 1.0)


def _cast(x: Any, dtype: Any) -> Any:
    return x.astype(dtype) if is_array(x) and x.dtype.kind == "f" else x
