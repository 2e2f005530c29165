"""The fork rule for broadcasting: what is broadcast forward is summed backward."""

from minibert.backend import Array, array_module


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """Sum `d` over every axis along which an array of `shape` was broadcast to `d.shape`."""
    if d.shape == shape:
        return d
    leading = d.ndim - len(shape)
    stretched = tuple(leading + i for i, n in enumerate(shape) if n == 1 and d.shape[leading + i] != 1)
    return d.sum(axis=(*range(leading), *stretched)).reshape(shape)


def column_sums(d: Array) -> Array:
    """(..., H) -> (H,), the gradient of what was added to every row; as a product, which is quicker than `sum`."""
    rows = d.reshape(-1, d.shape[-1])
    return array_module(d).ones(len(rows), d.dtype) @ rows
