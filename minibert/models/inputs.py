"""What a model accepts: integers of the right shapes and ranges, checked before anything is computed."""

import warnings
from typing import Any

import numpy as np

from minibert.backend import Array, device_of, is_array
from minibert.errors import InputError
from minibert.graph import calling_frame
from minibert.ops.loss import IGNORE_INDEX
from minibert.tensor import Tensor


def integers(values: Any, name: str, shape: tuple[int, ...] | None, low: int, high: int,
             ignore: bool = False) -> Array:
    """A copy of `values` as int64, which nothing outside can change.

    shape: what the array must look like; None asks for any (B, T) with B, T >= 1.
    low, high: smallest allowed value and the first one too large; `ignore` also allows IGNORE_INDEX. Values that are
    on a GPU are not looked at, because that would mean to wait for it: check them before they go there.
    Raises InputError naming what is wrong and where.
    """
    array = _array(values, name)
    if shape is None and (array.ndim != 2 or array.size == 0):
        raise InputError(f"{name} must have shape (batch, length), both at least 1, not {array.shape}")
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} must have shape {shape}, as input_ids has, not {array.shape}" if len(shape) == 2
                         else f"{name} must have shape {shape}, one number an example, not {array.shape}")
    if array.dtype.kind not in "iub":
        raise InputError(f"{name} must hold whole numbers, and these are {array.dtype}: convert with astype('int64')")
    if device_of(array) != "cpu":
        return array.astype(np.int64, copy=False)
    array = array.astype(np.int64)
    wrong = (array < low) | (array >= high)
    if ignore:
        wrong &= array != IGNORE_INDEX
    if wrong.any():
        where = tuple(int(i[0]) for i in wrong.nonzero())
        allowed = f"{low} .. {high - 1}" + (f" or {IGNORE_INDEX}" if ignore else "")
        raise InputError(f"{name}[{', '.join(map(str, where))}] is {int(array[where])}: it must be {allowed}")
    return array


def attention_mask(values: Any, shape: tuple[int, ...]) -> Array | None:
    """(B, T) of 1 = a token, 0 = padding  ->  boolean (B, 1, 1, T) of what may be looked at; None for everything."""
    array = _array(values, "attention_mask")
    if device_of(array) != "cpu":
        return integers(array, "attention_mask", shape, 0, 2).astype(bool)[:, None, None, :]
    if array.dtype.kind == "f" and ((array == 0) | (array == 1)).all():
        array = array.astype(np.int64)
    if array.dtype.kind == "f":
        raise InputError("attention_mask must hold 1 (a token) and 0 (padding) only, and it holds other numbers "
                         f"or NaN ({array.dtype})")
    mask = integers(array, "attention_mask", shape, 0, 2).astype(bool)
    return None if mask.all() else mask[:, None, None, :]


def _array(values: Any, name: str) -> Array:
    """Anything array-like as an array."""
    array = values.data if isinstance(values, Tensor) else values
    try:
        return array if is_array(array) else np.asarray(array)
    except ValueError as error:
        raise InputError(f"{name} must be a rectangular array of whole numbers ({error})") from error


def warn(message: str) -> None:
    """A warning at the line outside this package from which the model was called, however deep it is in others."""
    frame = calling_frame()
    seen = frame.f_globals.setdefault("__warningregistry__", {})  # so that a line is warned of once
    warnings.warn_explicit(message, UserWarning, frame.f_code.co_filename, frame.f_lineno,
                           frame.f_globals.get("__name__"), seen)
