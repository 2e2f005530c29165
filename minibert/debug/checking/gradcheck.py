"""Does a backward pass compute the slope of its forward pass?  Directional derivatives, in float64.

    (1)  <dx, v> = d/dt <f(x + t v), dy>  at t = 0

for each differentiable input separately, with a random cotangent dy and several random directions v.  The
cotangent must be random: with dy = 1 the true gradient of a softmax is exactly 0, and any zero would pass.

    check_op("softmax", x).assert_ok()                     # an operation's pair, on arrays
    gradcheck(lambda: loss(model), *model.parameters())    # a whole graph, for each of its leaves
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.checking.slope import root_mean_square, slope
from minibert.errors import InputError
from minibert.graph import no_grad
from minibert.ops.registry import REGISTRY, Op
from minibert.tensor import Tensor


@dataclass(frozen=True)
class Row:
    """One input, in the direction in which it is most wrong; errors are relative to the gradient's norm."""

    name: str
    analytic: float = 0.0  # <dx, v>
    numeric: float = 0.0
    error: float = 0.0
    tolerance: float = 0.0
    problem: str = ""  # a fault found without comparing any slope

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against this gradient."""
        return not self.problem and self.error <= self.tolerance

    def __str__(self) -> str:
        if self.problem:
            return f"  {self.name:<28} WRONG: {self.problem}"
        return (f"  {self.name:<28} analytic {self.analytic:+.9e}  numeric {self.numeric:+.9e}  "
                f"error {self.error:.1e} of {self.tolerance:.1e}  {'ok' if self.ok else 'WRONG'}")


@dataclass(frozen=True)
class GradientReport:
    """The rows of one check."""

    title: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(row.ok for row in self.rows)

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {'ok' if self.ok else 'WRONG'}", *map(str, self.rows)])

    def assert_ok(self) -> None:
        """Raise AssertionError, with the whole report, unless every gradient is right."""
        if not self.ok:
            raise AssertionError(str(self))


def check_op(op: str | Op, *args: Any, backward: Callable[..., Any] | None = None, seed: int = 0,
             directions: int = 3, tolerance: float = 1e-7, **hyper: Any) -> GradientReport:
    """Check the pair of an operation (its name, or an `Op`) on these arguments.

    backward: put in the place of the operation's own, to see what the check says of another formula.
    At a kink there is no slope to compare with, so that no gradient is accepted there.
    Raises InputError when the name is unknown or a floating-point argument is not float64.
    """
    if isinstance(op, str) and op not in REGISTRY:
        raise InputError(f"there is no operation {op!r}: choose one of {', '.join(sorted(REGISTRY))}")
    entry = REGISTRY[op] if isinstance(op, str) else op
    _require_float64(args)
    rng = np.random.default_rng(seed)
    before = _copies(args)
    y, saved = entry.forward(*args, **hyper)
    dy = random_like(rng, np.shape(y))
    saved_before, dy_before = _copies(saved), dy.copy()
    gradients = (backward or entry.backward)(dy, *saved)
    for name, now, then in (("inputs", args, before), ("saved arrays", saved, saved_before),
                            ("incoming gradient", [dy], [dy_before])):
        if not _same(now, then):
            return GradientReport(entry.name, (Row(name, problem="changed by the operation"),))
    places = range(len(args)) if entry.variadic else [i for i in entry.positions if i < len(args)]
    names = [f"{entry.inputs[0]}[{i}]" for i in places] if entry.variadic else entry.inputs[:len(places)]
    if len(gradients) < len(places):
        problem = f"{len(gradients)} for {len(places)} differentiable inputs"
        return GradientReport(entry.name, (Row("gradients", problem=problem),))
    rows = []
    for name, place, dx in zip(names, places, gradients, strict=False):
        def along(x: Array, place: int = place) -> Array:
            return entry.forward(*args[:place], x, *args[place + 1:], **hyper)[0]
        rows.append(_check_input(name, args[place], dx, along, dy, rng, directions, tolerance))
    return GradientReport(entry.name, tuple(rows))


def gradcheck(f: Callable[[], Tensor], *leaves: Tensor, seed: int = 0, directions: int = 3,
              tolerance: float = 1e-7) -> GradientReport:
    """Check the gradient of `f()`, a tensor of any shape, for each of these leaves, through the graph.

    f takes no arguments: it reads the leaves, which are given so that they can be moved.  A model's are
    `*model.parameters()`.  Afterwards every leaf has the numbers and the `grad` it had before.
    Raises InputError when a leaf is not a float64 leaf that requires a gradient, or when f is not a function
    of its leaves alone (dropout that moves on to the next step, for example).
    """
    _check_leaves(leaves)
    rng = np.random.default_rng(seed)
    before = [(leaf.data.copy(), leaf.grad) for leaf in leaves]
    y = f()
    with no_grad():
        if not _same([y.data], [f().data]):
            raise InputError("f gave two different results for the same leaves, so it has no slope: hold its "
                             "randomness fixed, for example by stream.seek(step) before each forward pass")
    dy = random_like(rng, y.shape)
    gradients = _gradients(y, dy, leaves)
    rows = []
    for i, (leaf, (data, grad), dx) in enumerate(zip(leaves, before, gradients, strict=True)):
        name = leaf.name or f"leaf {i}"
        if not _same([leaf.data], [data]):
            rows.append(Row(name, problem="its numbers were changed by f or by the backward pass"))
        elif dx is None:
            rows.append(Row(name, problem="no gradient reaches it: unused by f, or the graph is cut"))
        else:
            rows.append(_check_input(name, leaf.data, dx, _moved(f, leaf), dy, rng, directions, tolerance))
        leaf.grad = grad
    return GradientReport("graph", tuple(rows))


def random_like(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of either sign, none of them near 0: no single wrong element can hide behind one."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def _check_input(name: str, x: Array | None, dx: Any, along: Callable[[Array], Array], dy: Array,
                 rng: np.random.Generator, directions: int, tolerance: float) -> Row:
    """The row of one input: first what can be said without a slope, then the worst of some directions."""
    if x is None or dx is None:
        return Row(name, problem="" if x is dx else "exactly one of the input and its gradient is None")
    if np.shape(dx) != np.shape(x):
        return Row(name, problem=f"its gradient has shape {np.shape(dx)}, and it has {np.shape(x)}")
    if dx.dtype != x.dtype:
        return Row(name, problem=f"its gradient is {dx.dtype}, and it is {x.dtype}")
    if not np.isfinite(dx).all():
        return Row(name, problem="its gradient holds NaN or infinity")
    vs = [random_like(rng, np.shape(x)) for _ in range(directions)]
    rows = [_compare(name, x, dx, along, dy, v, tolerance) for v in vs]
    return max(rows, key=lambda row: (bool(row.problem), row.error))


def _compare(name: str, x: Array, dx: Array, along: Callable[[Array], Array], dy: Array, v: Array,
             tolerance: float) -> Row:
    """(1) in one direction.

    The error is measured against the norm of the whole gradient, so that a direction in which the true
    slope happens to be 0 neither hides an error nor invents one.
    """
    analytic, norm = float((dx * v).sum()), float(np.linalg.norm(dx))
    s = slope(lambda t: np.asarray(along(np.asarray(x + t * v)) * dy), root_mean_square(x))
    if not np.isfinite(s.error):
        return Row(name, problem="forward gives NaN or infinity near this point")
    scale = max(norm, abs(s.value))
    allowed = tolerance * scale + s.round_off
    if s.truncation + s.kink > allowed:
        return Row(name, problem=f"no slope to compare with, {s.value:.3e} +- {s.error:.0e}: a kink is near")
    relative = scale or 1.0
    return Row(name, analytic, s.value, abs(analytic - s.value) / relative, allowed / relative)


def _gradients(y: Tensor, dy: Array, leaves: Sequence[Tensor]) -> list[Array | None]:
    """What one backward pass from y adds to each leaf."""
    for leaf in leaves:
        leaf.grad = None
    if y.requires_grad:
        y.backward(dy)
    return [leaf.grad for leaf in leaves]


def _moved(f: Callable[[], Tensor], leaf: Tensor) -> Callable[[Array], Array]:
    """f as a function of one leaf's numbers."""
    def along(x: Array) -> Array:
        data, leaf.data = leaf.data, x
        try:
            with no_grad():
                return f().data
        finally:
            leaf.data = data
    return along


def _check_leaves(leaves: Sequence[Tensor]) -> None:
    if not leaves:
        raise InputError("gradcheck needs the leaves to differentiate by: gradcheck(f, x) or "
                         "gradcheck(f, *model.parameters())")
    for i, leaf in enumerate(leaves):
        if leaf.node is not None or not leaf.requires_grad:
            raise InputError(f"{leaf.name or f'leaf {i}'} is not a leaf that requires a gradient")
    _require_float64([leaf.data for leaf in leaves])


def _require_float64(arrays: Sequence[Any]) -> None:
    for x in arrays:
        if isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f" and x.dtype != np.float64:
            raise InputError(f"gradients are checked in float64, and an array here is {x.dtype}: differences "
                             f"of {x.dtype} numbers say too little about a slope")


def _copies(values: Sequence[Any]) -> list[Any]:
    """The values, arrays copied."""
    return [np.array(value) if isinstance(value, np.ndarray) else value for value in values]


def _same(now: Sequence[Any], then: Sequence[Any]) -> bool:
    """Whether every array still holds the same numbers."""
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
               for a, b in zip(now, then, strict=True) if isinstance(a, np.ndarray))
