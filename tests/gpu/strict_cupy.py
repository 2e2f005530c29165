"""A stand-in for the `cupy` module that computes with NumPy, and is as strict as CuPy is.

It refuses what CuPy refuses: names and keywords that CuPy lacks, implicit conversion to NumPy, arrays of both kinds
in one operation. Where CuPy goes on with a wrong or undefined result (an index out of range wraps around; of repeated
indices in an assignment, any one wins; `empty` holds anything), it raises StrictError, or yields NaN. It counts what a
device would be asked for: launches, copies each way, and synchronisations with their causes.

    sys.modules["cupy"] = strict_cupy, see the fixture in conftest.py;  strict_cupy.events
"""

import collections
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

API: dict[str, Any] = json.loads(Path(__file__).with_name("cupy_api.json").read_text(encoding="utf-8"))
IMPLICIT = ("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly.")
events: collections.Counter[str] = collections.Counter()  # launch, h2d, d2h, sync, and "sync: CAUSE"


class StrictError(RuntimeError):
    """CuPy would go on here, with a result that is wrong or not defined."""


def inside(x: Any) -> Any:
    """A device array as what NumPy may compute with; scalars as they are; host arrays are refused, as by CuPy."""
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, tuple | list):
        return type(x)(inside(part) for part in x)
    return x


def outside(x: Any) -> Any:
    """What NumPy computed, as device arrays: 0-d ones where NumPy gives scalars."""
    if isinstance(x, np.ndarray | np.generic):
        if x.dtype.kind in "OUSMm":
            raise ValueError(f"Unsupported dtype {x.dtype}")
        return ndarray(np.asarray(x))
    return type(x)(outside(part) for part in x) if isinstance(x, tuple | list) else x


def to_the_host(x: "ndarray", why: str) -> np.ndarray:
    """The numbers, on the host: the device is waited for."""
    events.update(("sync", "d2h", f"sync: {why}"))
    return x._a


class ndarray:
    """An array on the strict device."""

    __slots__ = ("__weakref__", "_a")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray) -> None:
        self._a = a

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if API["cupy"].get(ufunc.__name__) != "ufunc" or method not in ("__call__", "at"):
            raise NotImplementedError(f"`cupy_{ufunc.__name__}.{method}` is not supported yet")
        mine = Ufunc(ufunc.__name__)
        if kwargs.get("out") is not None:
            kwargs["out"] = kwargs["out"][0]
        return mine.at(*args) if method == "at" else mine(*args, **kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        return getattr(sys.modules[__name__], function.__name__)(*args, **kwargs)

    def get(self) -> np.ndarray:
        return to_the_host(self, ".get()").copy()

    def item(self, *args: Any) -> Any:
        return to_the_host(self, ".item()").item(*args)

    def tolist(self) -> Any:
        return to_the_host(self, ".tolist()").tolist()

    def __float__(self) -> float:
        return float(to_the_host(self, "float()"))

    def __int__(self) -> int:
        return int(to_the_host(self, "int()"))

    def __bool__(self) -> bool:
        return bool(to_the_host(self, "bool()"))

    def __index__(self) -> int:
        raise TypeError("'ndarray' object cannot be interpreted as an integer")

    def __str__(self) -> str:
        return str(to_the_host(self, "str()"))

    def __repr__(self) -> str:
        return repr(to_the_host(self, "repr()"))

    def __format__(self, how: str) -> str:
        return format(to_the_host(self, "format()")[()], how)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator["ndarray"]:
        return (ndarray(np.asarray(part)) for part in self._a)

    def __getitem__(self, key: Any) -> "ndarray":
        events["launch"] += 1
        return ndarray(np.asarray(self._a[checked_index(self, key, writing=False)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        events["launch"] += 1
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._a[checked_index(self, key, writing=True)] = inside(value)

    def set(self, host: np.ndarray) -> None:
        if not isinstance(host, np.ndarray) or host.dtype != self.dtype:
            raise TypeError(f"only a numpy.ndarray of {self.dtype} can be set here")
        if host.shape != self.shape:
            raise ValueError(f"shape mismatch: {host.shape} is to be set in {self.shape}")
        events["h2d"] += 1
        self._a[...] = host

    def fill(self, value: Any) -> None:
        self._a.fill(inside(value))

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
               copy: bool = True) -> "ndarray":
        return self if not copy and self.dtype == dtype else ndarray(self._a.astype(dtype))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in API["ndarray"]:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        value = getattr(self._a, name)
        if callable(value):
            return function(value, f"ndarray.{name}", API["ndarray"][name])
        return outside(value) if isinstance(value, np.ndarray) else value


ndarray.__module__ = "cupy"
OPERATORS = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
             "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
             "xor": "bitwise_xor", "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
             "ge": "greater_equal", "neg": "negative", "abs": "absolute", "invert": "invert", "pos": "positive"}


def operator(ufunc: Any, form: str) -> Callable[..., Any]:
    """The method behind an operator: plain, with its operands exchanged ("r"), or in place ("i")."""
    def method(x: ndarray, y: Any = None) -> Any:
        events["launch"] += 1
        operands = [x._a] if ufunc.nin == 1 else [inside(y), x._a] if form == "r" else [x._a, inside(y)]
        if isinstance(y, list):
            raise TypeError(f"Unsupported type {type(y)}")
        if form == "i":
            ufunc(*operands, out=x._a)
            return x
        return outside(ufunc(*operands))
    return method


for _name, _ufunc in OPERATORS.items():
    for _form in ("", "r", "i"):
        setattr(ndarray, f"__{_form}{_name}__", operator(getattr(np, _ufunc), _form))


class Ufunc:
    """A universal function of CuPy's: no `where`, and hardly any method."""

    def __init__(self, name: str) -> None:
        self.__name__, self._numpy = name, getattr(np, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if unknown := set(kwargs) - {"out", "dtype", "casting"}:
            raise TypeError(f"Wrong arguments {unknown}")
        if any(isinstance(x, list) for x in args):
            raise TypeError("Unsupported type <class 'list'>")
        return function(self._numpy, self.__name__, None)(*args, **kwargs)

    def reduce(self, x: ndarray, **kwargs: Any) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy_{self.__name__}.reduce` is not supported yet")
        events["launch"] += 1
        return outside(self._numpy.reduce(inside(x), **kwargs))

    def at(self, x: ndarray, index: Any, value: Any) -> None:
        if self.__name__ not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"`cupy_{self.__name__}.at` is not supported yet")
        events["launch"] += 1
        self._numpy.at(x._a, checked_index(x, index, writing=False), inside(value))


def checked_index(x: ndarray, key: Any, writing: bool) -> Any:
    """An index as NumPy takes it.  Raises StrictError where CuPy would read or write something else."""
    keys = list(key) if isinstance(key, tuple) else [key]
    for i, part in enumerate(keys):
        if isinstance(part, np.ndarray | list):
            events["h2d"] += 1
            keys[i] = ndarray(np.asarray(part))
    arrays = [part for part in keys if isinstance(part, ndarray)]
    masks = [part for part in arrays if part.dtype == bool]
    events.update(("sync", "sync: boolean mask") if masks and not writing else ())
    if any(part.dtype.kind not in "iub" for part in arrays):
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    _check_range(x, keys)
    if writing and arrays and not masks:
        places = np.arange(x.size).reshape(x.shape)[tuple(inside(keys))]
        if np.unique(places).size != places.size:
            raise StrictError("assignment with repeated indices: CuPy keeps any one of them; use add.at")
    index = tuple(inside(keys))
    return index if isinstance(key, tuple) else index[0]


def _check_range(x: ndarray, keys: list[Any]) -> None:
    """CuPy wraps indices that are out of range around."""
    taken = sum(part.ndim if isinstance(part, ndarray) and part.dtype == bool else part is not None
                and part is not Ellipsis for part in keys)
    axis = 0
    for part in keys:
        if part is Ellipsis:
            axis += x.ndim - taken
        elif isinstance(part, ndarray) and part.dtype == bool:
            axis += part.ndim
        elif part is not None:
            n = x.shape[axis]
            if isinstance(part, ndarray) and part.size and (part._a.min() < -n or part._a.max() >= n):
                raise StrictError(f"index out of range for axis {axis} of length {n}: CuPy wraps it around")
            axis += 1


def function(numpys: Callable[..., Any], name: str, parameters: Any) -> Callable[..., Any]:
    """NumPy's function, on device arrays, with CuPy's parameters only."""
    def call(*args: Any, **kwargs: Any) -> Any:
        if isinstance(parameters, list) and (unknown := sorted(set(kwargs) - set(parameters))):
            raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
        events["launch"] += 1
        out = kwargs.get("out")
        y = numpys(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()})
        if name in ("allclose", "array_equal"):
            y = np.bool_(y)  # NumPy answers with Python's bool, and CuPy does not wait for one
        return out if isinstance(out, ndarray) else outside(y)
    return call


def asarray(x: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """Copies a host array to the device."""
    if isinstance(x, ndarray):
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    events["h2d"] += 1
    y: ndarray = outside(np.array(x, dtype=dtype))
    return y


def array(x: Any, dtype: Any = None, copy: bool = True) -> ndarray:
    """A copy on the device."""
    y = asarray(x, dtype)
    return ndarray(y._a.copy()) if y is x and copy else y


def asnumpy(x: Any) -> np.ndarray:
    """On the host."""
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


def _poisoned(make: Callable[..., np.ndarray]) -> Callable[..., ndarray]:
    """Memory that nobody has written yet: NaN, or -1."""
    def empty(*args: Any, **kwargs: Any) -> ndarray:
        y = make(*map(inside, args), **kwargs)
        y[...] = np.nan if y.dtype.kind == "f" else True if y.dtype.kind == "b" else -1
        return ndarray(y)
    return empty


empty, empty_like = _poisoned(np.empty), _poisoned(np.empty_like)


class CUDARuntimeError(RuntimeError):
    """What CUDA answers when it cannot do what it was asked."""


cuda = types.SimpleNamespace(is_available=lambda: True, runtime=types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13020,
    getDeviceCount=lambda: 1, getDevice=lambda: 0, getDeviceProperties=lambda device: {"name": b"NumPy"},
    memGetInfo=lambda: (3 << 28, 3 << 30)))
__version__ = "14.2.0"  # whose names API has


def __getattr__(name: str) -> Any:
    if name not in API["cupy"] or not hasattr(np, name):
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    kind = API["cupy"][name]
    if kind == "module":
        return types.SimpleNamespace(**{part: function(getattr(getattr(np, name), part), f"{name}.{part}", parameters)
                                        for part, parameters in API.get(name, {}).items()
                                        if callable(getattr(getattr(np, name), part, None))})
    if kind == "ufunc":
        return Ufunc(name)
    return getattr(np, name) if kind in ("value", "type") else function(getattr(np, name), name, kind)
