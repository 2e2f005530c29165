"""Holds the formulas of an operation against its code, on the arguments of one case."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from ops.cases import Case

from minibert.debug.formulas import evaluate, parse
from minibert.debug.formulas.tree import Name
from minibert.ops.dropout import LEVELS
from minibert.ops.loss import IGNORE_INDEX
from minibert.ops.registry import Op

Layout = Callable[[Any], Any]  # an array of the code as the formula speaks of it
LIMIT = 1e-10
GREEK = {"gamma", "beta"}


class Drift(AssertionError):
    """A formula and its code do not say the same."""


def meaning(op: Op, name: str) -> str:
    """The LaTeX for what the code calls `name`."""
    return op.notation.get(name, rf"\{name}" if name in GREEK else rf"\mathrm{{{name}}}")


def letter(op: Op, name: str) -> str:
    """How `evaluate` calls what the code calls `name`."""
    left = parse(meaning(op, name))[0].left
    return left.key if isinstance(left, Name) else name


def lengths(shapes: str, arrays: dict[str, Any]) -> dict[str, int]:
    """The capital letters in "x (B, T, H), gamma (H,)": lengths of axes, which must agree."""
    found: dict[str, int] = {}
    for names, inside in re.findall(r"([a-z, ]+?) \(([^()]*)\)", shapes):
        axes = [axis.strip() for axis in inside.split(",") if axis.strip()]
        for name in re.findall(r"[a-z]+", names):
            if name not in arrays or name == "mask" or not all(re.fullmatch(r"[A-Z]|\.\.\.", a) for a in axes):
                continue  # a mask is broadcast
            shape, capitals = np.shape(arrays[name]), [axis for axis in axes if axis != "..."]
            if len(shape) < len(capitals) or (capitals == axes and len(shape) != len(axes)):
                raise Drift(f"{name} has shape {shape}, and the entry says ({inside})")
            for capital, n in zip(reversed(capitals), reversed(shape), strict=False):
                if found.setdefault(capital, n) != n:
                    raise Drift(f"{capital} is {found[capital]} and {n}")
    return found


def reduced_last(arguments: dict[str, Any]) -> dict[str, Layout]:
    """k numbers what is reduced: those axes go to the end, as one."""
    x, axis = arguments["x"], arguments["axis"]
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = sorted(a % x.ndim for a in axes)
    kept = [i for i in range(x.ndim) if i not in gone]

    def of_x(a: Any) -> Any:
        turned = a.transpose(*kept, *gone)
        return turned.reshape(*turned.shape[:len(kept)], -1)

    return {"x": of_x, "y": lambda y: np.reshape(y, [x.shape[i] for i in kept])}


def repetitions_first(arguments: dict[str, Any]) -> dict[str, Layout]:
    """b numbers the repetitions of x, and i its numbers."""
    x, shape = arguments["x"], arguments["shape"]
    new = len(shape) - x.ndim
    repeated = [i for i, n in enumerate(shape) if i < new or x.shape[i - new] != n]
    rest = [i for i in range(len(shape)) if i not in repeated]
    return {"x": np.ravel, "y": lambda y: y.transpose(*repeated, *rest).reshape(-1, x.size)}


def labelled_only(arguments: dict[str, Any]) -> dict[str, Layout]:
    """m numbers the positions with a label."""
    labelled = arguments["labels"].reshape(-1) != IGNORE_INDEX
    return {"logits": lambda x: x.reshape(-1, x.shape[-1])[labelled], "labels": lambda y: y.reshape(-1)[labelled]}


def transposed_first(arguments: dict[str, Any]) -> dict[str, Layout]:
    """a and b are the operands after `ta` and `tb`."""
    return {name: lambda x, turn=arguments["t" + name]: x.swapaxes(-1, -2) if turn else x for name in "ab"}


def places(arguments: dict[str, Any]) -> dict[str, Layout]:
    """The numbers of x in one row, and the place in it of each number of y."""
    x = arguments["x"]
    return {"x": np.ravel, "index": lambda index: np.ravel(np.arange(x.size).reshape(x.shape)[index])}


LAYOUTS: dict[str, Callable[[dict[str, Any]], dict[str, Layout]]] = {
    "sum": reduced_last, "mean": reduced_last, "max": reduced_last, "broadcast_to": repetitions_first,
    "cross_entropy": labelled_only, "matmul": transposed_first, "getitem": places,
    "embedding": lambda arguments: {"ids": np.ravel}}


def unwritten(op: Op, arguments: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """What the formulas speak of, and no argument holds as it is."""
    found: dict[str, Any] = {}
    if op.name == "broadcast_to":
        found["B"] = math.prod(arguments["shape"]) / arguments["x"].size
    if op.name == "cross_entropy":
        found["M"] = arguments["count"] or max((arguments["labels"] != IGNORE_INDEX).sum(), 1)
    if "keep" in op.saved:
        found["r"] = 1.0 if saved["keep"] is None else saved["keep"]
        found["p"] = round(arguments["p"] * LEVELS) / LEVELS if arguments["key"] else 0.0
    if op.name == "attention":
        found["m"] = 1.0 if arguments["mask"] is None else arguments["mask"] != 0
    if op.name in ("linear", "add_norm") and arguments["bias"] is None:
        found["b"] = 0.0
    return found


class Reading:
    """One call of an operation, and what its formulas say of it."""

    def __init__(self, op: Op, case: Case, seed: int = 0) -> None:
        y, saved = op.forward(*case.args, **case.hyper)
        dy = np.random.default_rng(seed).standard_normal(np.shape(y))
        self.op, self.output, self.compared = op, op.output, 0
        bound = inspect.signature(op.forward).bind(*case.args, **case.hyper)
        bound.apply_defaults()
        self.arguments = bound.arguments
        self.saved = dict(zip(op.saved, saved, strict=True))
        self.layouts = LAYOUTS[op.name](self.arguments) if op.name in LAYOUTS else {}
        self.gradients = op.backward(dy, *saved)
        self.y, self.dy = self.laid(self.output, y), self.laid(self.output, dy)

    def laid(self, name: str, value: Any) -> Any:
        """An array of the code as the formula speaks of it."""
        return self.layouts[name](value) if name in self.layouts else value

    def hold(self) -> int:
        """Raise Drift or InputError where formulas or shapes differ from the code; the number of arrays compared."""
        arrays = {name: self.laid(name, x) for name, x in self.arguments.items()
                  if name in self.layouts or (is_number(x) and name != "axis")}
        before, after = self.op.shapes.split("->")
        given = lengths(before, arrays) | {letter(self.op, name): x for name, x in arrays.items()}
        given |= unwritten(self.op, self.arguments, self.saved)
        known = given | evaluate(self.op.formula, given)
        self.compare(self.output, known[letter(self.op, self.output)], self.y)
        for capital, n in lengths(after, {self.output: self.y}).items():
            if known.get(capital, n) != n:
                raise Drift(f"{capital} is {known[capital]} before and {n} after")
        for chance in re.findall(r"\\mathrm\{Bernoulli\}\((.*?)\)", self.op.formula):
            kept = evaluate(rf"\mathrm{{kept}} = {chance}", given)["kept"]
            self.compare("scale", 1.0 / kept, self.saved["scale"])
        for name, value in self.saved.items():
            if name in self.layouts or (is_number(value) and np.asarray(value).dtype.kind in "fb"):
                what = evaluate(rf"{self.op.formula},\; \mathrm{{saved}} = {meaning(self.op, name)}", given)
                self.compare(name, what["saved"], self.laid(name, value))
        given[f"d{letter(self.op, self.output)}"] = self.dy
        slopes = evaluate(rf"{self.op.formula},\; {self.op.gradient}", given)
        for name, gradient in zip(self.op.inputs, self.gradients, strict=True):
            if gradient is not None:
                self.compare(f"d{name}", slopes[f"d{letter(self.op, name)}"], self.laid(name, gradient))
        return self.compared

    def compare(self, name: str, says: Any, does: Any) -> None:
        """Raise Drift unless both hold the same numbers in the same order."""
        says, does = np.asarray(says, np.float64), np.asarray(does, np.float64)
        if says.size != does.size:
            raise Drift(f"{name} has shape {does.shape}, and in the formula {says.shape}")
        same = np.isclose(says.reshape(does.shape), does, rtol=LIMIT, atol=LIMIT)
        if not same.all():
            raise Drift(f"{name} of {self.op.name} is not what the formula says")
        self.compared += 1


def is_number(x: Any) -> bool:
    """An array, or a number that is no flag."""
    return isinstance(x, np.ndarray | np.generic | float | int) and not isinstance(x, bool)
