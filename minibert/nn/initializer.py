"""The numbers a model starts from."""

from typing import Any

import numpy as np

from minibert.backend import Array


class Initializer:
    """Draws initial numbers: normal with deviation `std`, in the order in which layers ask for them.

    The numbers are drawn in float64 and then rounded, so that a float32 and a float64 model of one seed agree.
    """

    def __init__(self, seed: int = 0, std: float = 0.02, dtype: Any = np.float32) -> None:
        self._generator = np.random.default_rng(seed)
        self.std, self.dtype = std, np.dtype(dtype)

    def normal(self, *shape: int) -> Array:
        """Normal numbers of mean 0 and deviation `std`."""
        return (self.std * self._generator.standard_normal(shape)).astype(self.dtype)

    def zeros(self, *shape: int) -> Array:
        """Zeros, for biases."""
        return np.zeros(shape, self.dtype)

    def ones(self, *shape: int) -> Array:
        """Ones, for gains."""
        return np.ones(shape, self.dtype)
