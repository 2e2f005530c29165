"""The seam: which array library an array belongs to.

Operations take their array module from their arguments, so the same formula runs wherever the arrays live.
No array library but NumPy is ever imported from here: an array of another library proves that its user
has imported it already.
"""

import sys
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, or an array of a library that follows NumPy's interface


def array_module(x: Array) -> Any:
    """The library `x` belongs to: `numpy` for NumPy's arrays, `cupy` for CuPy's."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def is_array(x: object) -> bool:
    """Whether `x` is an array of NumPy or of another library with NumPy's interface."""
    return isinstance(x, np.ndarray | np.generic) or (hasattr(x, "dtype") and hasattr(x, "__array_ufunc__"))
