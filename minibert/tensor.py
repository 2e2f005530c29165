"""`Tensor`: an array that remembers which operation made it, and `apply`, which runs one operation.

The graph knows nothing of calculus: every derivative stands in `minibert.ops`.
"""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Self

import numpy as np

from minibert.backend import Array, array_module, beside, is_array, to_host
from minibert.errors import InputError
from minibert.graph import Collect, Node, Source, backpropagate, calling_line, keep_grad, state
from minibert.ops.registry import Op, operation
from minibert.summary import summary


class Tensor:
    """An array in a graph. `grad` is None until a backward pass has computed it."""

    __slots__ = ("__weakref__", "data", "grad", "name", "node", "requires_grad", "version")

    def __init__(self, data: Any, requires_grad: bool = False, name: str = "") -> None:
        if not is_array(data):
            data = np.asarray(data)
            if data.dtype.kind not in "fiub":
                raise InputError(f"a tensor is made of numbers, not of {type(data.flat[0]).__name__}")
            data = data.astype(np.float32) if data.dtype == np.float64 else data
        elif isinstance(data, np.generic):
            data = np.asarray(data)
        if requires_grad and data.dtype.kind != "f":
            raise InputError(f"only floating-point tensors have gradients, and this one is {data.dtype}")
        self.data: Array = data
        self.requires_grad = requires_grad
        self.name = name
        self.grad: Array | None = None
        self.node: Node | None = None
        self.version = 0  # raised whenever the data of a leaf is replaced or updated in place

    __array_priority__ = 1000  # array * tensor is left to Tensor.__rmul__

    shape = property(attrgetter("data.shape"))
    dtype = property(attrgetter("data.dtype"))
    ndim = property(attrgetter("data.ndim"))
    size = property(attrgetter("data.size"))

    def item(self) -> float:
        """The single number of a tensor of size 1, as a Python number."""
        return self.data.item()

    def detach(self) -> "Tensor":
        """The same numbers, cut from the graph."""
        return Tensor(self.data)

    def retain_grad(self) -> Self:
        """Collect the gradient of this intermediate value, too, when a backward pass goes through it."""
        if self.node is not None:
            self.node.kept_by = self
        return self

    def backward(self, dy: Array | None = None, collect: "Collect" = keep_grad) -> None:
        """Add d(self)/d(leaf), weighted by `dy`, to the `grad` of every leaf that requires one.

        dy has the shape of self; it may be left out for a single number, where it is 1.
        collect: called for every leaf with (leaf, gradient, whether the array is free to be kept and changed), once
        its gradient is complete; by default it adds to `leaf.grad`.
        Raises InputError when nothing is to be differentiated, or when this graph was already consumed.
        """
        backpropagate(self.node or self, self._first_gradient(dy), calling_line(), collect)

    def _first_gradient(self, dy: Array | None) -> Array:
        """The gradient a backward pass starts from, checked."""
        if not self.requires_grad:
            raise InputError("nothing to differentiate: no input of this tensor requires a gradient, "
                             "or it was computed inside no_grad()")
        if dy is None:
            if self.data.size != 1:
                raise InputError(f"backward() without dy needs a single number, and this tensor has shape "
                                 f"{self.shape}; pass dy of that shape")
            return array_module(self.data).ones_like(self.data)
        if not is_array(dy):
            raise InputError(f"dy must be an array, {self.dtype} of shape {self.shape}, not a {type(dy).__name__}")
        if dy.shape != self.shape or dy.dtype != self.dtype:
            raise InputError(f"dy must be {self.dtype} of shape {self.shape}, not {dy.dtype} of shape {dy.shape}")
        return dy

    def __repr__(self) -> str:
        name = f"{self.name} " if self.name else ""
        by = f", by {self.node.op.name}" if self.node else ""
        grad = ", requires_grad" if self.requires_grad and not self.node else ""
        about = f", {summary(self.data)}" if self.size > 1 else ""
        values = np.array2string(np.asarray(to_host(self.data)), threshold=20, edgeitems=2, precision=4)
        return f"Tensor({name}{self.shape} {self.dtype}{by}{grad}{about}, {values})"

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __add__(self, y: Any) -> "Tensor":
        return apply("add", self, lift(y, self))

    def __radd__(self, y: Any) -> "Tensor":
        return apply("add", lift(y, self), self)

    def __sub__(self, y: Any) -> "Tensor":
        return apply("subtract", self, lift(y, self))

    def __rsub__(self, y: Any) -> "Tensor":
        return apply("subtract", lift(y, self), self)

    def __mul__(self, y: Any) -> "Tensor":
        return apply("multiply", self, lift(y, self))

    def __rmul__(self, y: Any) -> "Tensor":
        return apply("multiply", lift(y, self), self)

    def __truediv__(self, y: Any) -> "Tensor":
        return apply("divide", self, lift(y, self))

    def __rtruediv__(self, y: Any) -> "Tensor":
        return apply("divide", lift(y, self), self)

    def __neg__(self) -> "Tensor":
        return apply("multiply", self, lift(-1.0, self))

    def __pow__(self, exponent: float) -> "Tensor":
        if not isinstance(exponent, int | float):
            raise InputError(f"an exponent must be a fixed number, not a {type(exponent).__name__}")
        return apply("power", self, float(exponent))  # float: NumPy's own scalars would promote

    def __matmul__(self, y: "Tensor") -> "Tensor":
        return apply("matmul", self, y)

    def __getitem__(self, index: Any) -> "Tensor":
        if isinstance(index, tuple):
            index = tuple(part.data if isinstance(part, Tensor) else part for part in index)
        return apply("getitem", self, index)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same numbers in another shape, given as numbers or as one tuple; one length may be -1."""
        return apply("reshape", self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    def transpose(self, *axes: int) -> "Tensor":
        """The axes in another order; without arguments, reversed."""
        return apply("transpose", self, axes or tuple(range(self.ndim))[::-1])

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """Sum over `axis`."""
        return apply("sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """Mean over `axis`."""
        return apply("mean", self, axis=axis, keepdims=keepdims)


def lift(y: Any, like: Any) -> Any:
    """Numbers and arrays of integers in `like`'s dtype, so that nothing is promoted; anything else as it is."""
    if not isinstance(like, Tensor) or like.dtype.kind != "f":
        return y if isinstance(y, Tensor) or is_array(y) else np.asarray(y)
    array = y.data if isinstance(y, Tensor) else y
    if isinstance(y, int | float) or (is_array(array) and array.dtype.kind in "iub"):
        return beside(array_module(array).asarray(array, dtype=like.dtype) if is_array(array) else
                      np.asarray(array, dtype=like.dtype), like.data)
    return y


def apply(name: str, *args: Any, **hyper: Any) -> Tensor:
    """Run the registered operation `name`, and remember it when an input requires a gradient.

    Arguments may be tensors or arrays; an array stands for a constant.
    Raises InputError when shapes do not fit or floating-point dtypes differ.
    """
    arrays = [x.data if isinstance(x, Tensor) else x for x in args]
    op = operation(name, arrays)
    _check_dtypes(op, arrays)
    try:
        y, saved = op.forward(*arrays, **hyper)
    except (ValueError, IndexError) as error:
        raise error if isinstance(error, InputError) else _misfit(op, arrays, error) from error
    output = Tensor(y)
    if state.recording:
        sources = [source(x) for x in _differentiable(op, args)]
        if any(source is not None for source in sources):
            leaves = [x for x in args if isinstance(x, Tensor) and x.node is None]
            called_with = [x.node or x if isinstance(x, Tensor) else x for x in args]
            output.requires_grad = True
            output.node = Node(op, sources, saved, y.shape, y.dtype, called_with, hyper,
                               [(x, x.version) for x in leaves])
            lock((output.data, *saved), {id(x.data) for x in leaves})
    return output


def source(x: Any) -> "Source | None":
    """Where a gradient of x has to go; None when it needs none."""
    return (x.node or x) if isinstance(x, Tensor) and x.requires_grad else None


def _differentiable(op: Op, args: Sequence[Any]) -> Sequence[Any]:
    """Those of an operation's arguments for which its backward returns gradients, in that order."""
    return args if op.variadic else [args[i] if i < len(args) else None for i in op.positions]


def lock(saved: tuple, leaves: set[int]) -> None:
    """Make results and what backward needs read-only: a later change would silently falsify the gradient.

    Leaves (given by the id of their arrays) stay writable, for optimisers; their `version` is checked instead.
    """
    for array in saved:
        if isinstance(array, tuple):
            lock(array, leaves)
        elif isinstance(array, np.ndarray) and id(array) not in leaves:
            array.flags.writeable = False


def _check_dtypes(op: Op, arrays: Sequence[Any]) -> None:
    dtypes = {x.dtype for x in arrays if is_array(x) and x.dtype.kind == "f"}
    if len(dtypes) > 1:
        names = " and ".join(sorted(map(str, dtypes)))
        raise InputError(f"{op.name} got arrays of {names}: a graph has one floating-point dtype; convert with astype")


def _misfit(op: Op, arrays: Sequence[Any], error: Exception) -> InputError:
    shapes = ", ".join(str(tuple(x.shape)) for x in arrays if is_array(x))
    return InputError(f"{op.name} cannot take arrays of shape {shapes}; it maps {op.shapes} ({error})")
