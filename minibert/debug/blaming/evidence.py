"""What an operation had in its hands when a number went wrong, and how to say arithmetic in words."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.execution import Execution, on_host
from minibert.graph import Node
from minibert.ops.registry import formula_of
from minibert.summary import number, summary

Index = tuple[int, ...]
SYMBOLS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
NO_VALUE = {"+": "infinity minus infinity", "-": "infinity minus infinity", "*": "0 times infinity",
            "/": "infinity divided by infinity"}
SHOWN = 6  # numbers of a row
ROWS = {"linear": ("x",), "attention": ("q",), "layer_norm": ("x",), "add_norm": ("h", "x"), "softmax": ("x",),
        "log_softmax": ("x",), "linear_gelu": ("x",)}  # operands whose row a number of the output reads, at its place
POINTWISE = ("add", "subtract", "multiply", "divide", "maximum", "where", "power", "exp", "log", "sqrt", "relu", "tanh",
             "sigmoid", "gelu", "gelu_tanh", "dropout", "broadcast_to", "layer_norm", "add_norm", "softmax",
             "log_softmax")  # a number of the output, or of a gradient, reads numbers at the same place


@dataclass(frozen=True)
class Evidence:
    """One operation, one way: its arguments and output, or the incoming gradient, what was saved, and a gradient.

    values: by the names of the forward's (or the backward's) parameters.  result: the output, or the gradient of the
    input `wanted`.  index: where its first bad number stands.
    """

    node: Node
    values: dict[str, Any]
    result: Array
    index: Index
    wanted: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def at(self, name: str) -> float:
        """The operand's number that belongs to the bad one, by broadcasting."""
        return float(np.broadcast_to(self.values[name], np.shape(self.result))[self.index])

    def row(self, name: str) -> Array:
        """The operand's last axis that belongs to the bad number, by broadcasting of the others."""
        x = self.values[name]
        return np.broadcast_to(x, np.shape(self.result)[:-1] + x.shape[-1:])[self.index[:-1]]


Cause = Callable[[Evidence], str]  # why the number is bad, in words; "" when it is not for this reason


def forward_values(execution: Execution, node: Node) -> dict[str, Any]:
    """What the forward of `node` was called with, by name; of a variadic operation as xs[0], xs[1], ..."""
    called = inspect.signature(node.op.forward).bind(*_arguments(execution, node), **_named(node))
    called.apply_defaults()
    values = dict(called.arguments)
    if node.op.variadic:
        name = node.op.inputs[0]
        values |= {f"{name}[{i}]": x for i, x in enumerate(values.pop(name))}
    return values


def backward_values(execution: Execution, node: Node, dy: Array) -> dict[str, Any]:
    """What the backward of `node` was called with, by name; the incoming gradient first.

    Of a CUDA twin, what the backward of its formula would be called with.
    """
    op = formula_of(node.op)
    incoming = next(iter(inspect.signature(op.backward).parameters))
    saved = (execution.saved[node] if op is node.op else
             op.forward(*_arguments(execution, node), **_named(node))[1])
    return {incoming: to_host(dy), **dict(zip(op.saved, map(on_host, saved), strict=True))}


def _arguments(execution: Execution, node: Node) -> list[Any]:
    return [on_host(x) for x in execution.arguments(node)]


def _named(node: Node) -> dict[str, Any]:
    return {name: on_host(x) for name, x in node.hyper.items()}


def is_finite(x: Any) -> bool:
    """Whether no number of an array is NaN or infinite; True for anything that has no such numbers."""
    return not hasattr(x, "dtype") or x.dtype.kind != "f" or bool(np.isfinite(x).all())


def bad_places(x: Array, masked: bool = False, most: int = 3) -> list[Index]:
    """Where the first numbers stand that are NaN or infinite; with `masked`, -inf is not a bad one."""
    x = to_host(x)
    bad = np.isnan(x) | np.isposinf(x) if masked else ~np.isfinite(x)
    flat = np.flatnonzero(bad)[:most]
    return [tuple(int(i) for i in np.unravel_index(place, np.shape(x))) for place in flat]


def holds(x: Array, masked: bool = False) -> str:
    """How many numbers are bad, and where the first one stands: "3 NaN, first at [4, 7]"."""
    x = to_host(x)
    counts = ((int(np.isnan(x).sum()), "NaN"), (int(np.isposinf(x).sum()), "inf"),
              (int(np.isneginf(x).sum()), "-inf by a mask" if masked else "-inf"))
    first = (bad_places(x, masked, most=1) or bad_places(x, most=1))[0]
    return ", ".join(f"{n:,} {what}" for n, what in counts if n) + (f", first at {place(first)}" if first else "")


def place(index: Index) -> str:
    """[4, 7]."""
    return f"[{', '.join(map(str, index))}]"


def at(index: Index) -> str:
    """" at [4, 7]", and nothing for the only number of an array without axes."""
    return f" at {place(index)}" if index else ""


def limit(dtype: Any) -> str:
    """"the largest float32, 3.4e38"."""
    return f"the largest {dtype}, {float(np.finfo(dtype).max):.2g}".replace("e+", "e")


def peak(x: Array) -> float:
    """The largest absolute value among the finite numbers."""
    x = np.abs(np.asarray(x, np.float64))
    return float(np.max(x, where=np.isfinite(x), initial=0.0))


def bracketed(x: float) -> str:
    """A number as the second operand of a formula."""
    return f"({number(x)})" if np.signbit(x) else number(x)


def arithmetic(symbol: str, x: Any, y: Any, names: tuple[str, str], index: Index | None = None) -> str:
    """What x (symbol) y gives at `index`, or at its first bad number, and why; "" when all of it is finite."""
    x, y = np.broadcast_arrays(x, y)
    with np.errstate(all="ignore"):
        z = np.asarray(SYMBOLS[symbol](x, y))
    places = bad_places(z, most=1) if index is None else [index]
    if not places or np.isfinite(z[places[0]]):
        return ""
    a, b, c = (float(v[places[0]]) for v in (x, y, z))
    formula = f"{names[0]} {symbol} {names[1]} = {number(a)} {symbol} {bracketed(b)} = {number(c)}{at(places[0])}"
    return f"{formula}: {_reason(symbol, a, b, c, z.dtype)}"


def _reason(symbol: str, a: float, b: float, c: float, dtype: Any) -> str:
    if np.isnan(a) or np.isnan(b):
        return "a NaN came in"
    if symbol == "/" and b == 0.0:
        return "0 divided by 0 has no value" if a == 0.0 else "a division by 0"
    if np.isnan(c):
        return f"{NO_VALUE[symbol]} has no value"
    if np.isinf(a) or np.isinf(b):
        return "an infinity came in"
    return f"it is above {limit(dtype)}" if c > 0.0 else f"its size is above {limit(dtype)}"


def operand_text(x: Array, shape: tuple[int, ...], index: Index, by_row: bool, pointwise: bool) -> str:
    """An operand: its range, and the row or the number of it that belongs to `index` of a result of `shape`."""
    if np.size(x) == 1:
        return number(float(x.item()))
    text = f"{tuple(np.shape(x))}: {summary(x)}"
    if by_row:
        row = x[index[:-1]]
        more = ", ..." if row.size > SHOWN else ""
        return f"{text}; row {place(index[:-1])}: {', '.join(number(float(v)) for v in row[:SHOWN])}{more}"
    if pointwise and _fits(np.shape(x), shape):
        return f"{text}; at {place(index)}: {number(float(np.broadcast_to(x, shape)[index]))}"
    return text


def _fits(inner: tuple[int, ...], outer: tuple[int, ...]) -> bool:
    """Whether an array of shape `inner` broadcasts to `outer`."""
    return len(inner) <= len(outer) and all(a in (1, b) for a, b in zip(inner[::-1], outer[::-1], strict=False))
