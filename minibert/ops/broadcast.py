"""The fork rule for broadcasting: what is broadcast forward is summed backward."""

from minibert.backend import Array


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """Sum `d` over every axis along which an array of `shape` was broadcast to `d.shape`."""
    if d.shape == shape:
        return d
    leading = d.ndim - len(shape)
    stretched = tuple(leading + i for i, n in enumerate(shape) if n == 1 and d.shape[leading + i] != 1)
    return d.sum(axis=(*range(leading), *stretched)).reshape(shape)
