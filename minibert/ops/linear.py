"""Matrix products: the general one, and the affine map of a layer."""

import numpy as np

from minibert.backend import Array
from minibert.errors import InputError
from minibert.ops.broadcast import column_sums, unbroadcast
from minibert.ops.registry import Op, register


def _t(x: Array, flag: bool = True) -> Array:
    """The last two axes exchanged, if `flag`."""
    return x.swapaxes(-1, -2) if flag else x


def matmul(a: Array, b: Array, ta: bool = False, tb: bool = False) -> tuple[Array, tuple]:
    """Matrix product over the last two axes; leading axes broadcast; `ta`, `tb` transpose an operand first.

        (1)  y = a b

    a (..., N, K), b (..., K, M)  ->  y (..., N, M)
    Raises InputError when an operand is no matrix: reshape a vector to (1, K) or (K, 1).
    """
    if a.ndim < 2 or b.ndim < 2:
        raise InputError(f"matmul multiplies matrices, not arrays of shape {a.shape} and {b.shape}: "
                         f"reshape a vector to (1, K) or (K, 1)")
    y = _t(a, ta) @ _t(b, tb)                             # (1)
    return y, (a, b, ta, tb)


def matmul_backward(dy: Array, a: Array, b: Array, ta: bool, tb: bool) -> tuple[Array, Array]:
    """dy (..., N, M)  ->  da, db in the shapes of a and b.

        (1')  da = dy b^T,  db = a^T dy
    """
    da = dy @ _t(_t(b, tb))                               # (1')
    db = _t(_t(a, ta)) @ dy
    return unbroadcast(_t(da, ta), a.shape), unbroadcast(_t(db, tb), b.shape)


def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, tuple]:
    """An affine map of the last axis.

        (1)  y = x W^T + b

    x (..., I), weight (O, I), bias (O,) or None  ->  y (..., O).  The weight is stored as PyTorch stores it.
    """
    rows = x.reshape(-1, x.shape[-1])                     # (N, I): one large product is quicker than many
    y = rows @ weight.T                                   # (1)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), (x, weight, bias is not None)


def linear_backward(dy: Array, x: Array, weight: Array, has_bias: bool) -> tuple[Array, Array, Array | None]:
    """dy (..., O)  ->  dx (..., I), dweight (O, I), dbias (O,) or None.

        (1')  dx = dy W,  dW = dy^T x,  db = sum(dy)
    """
    dy_rows = dy.reshape(-1, dy.shape[-1])                # (N, O)
    rows = x.reshape(-1, x.shape[-1])                     # (N, I)
    dx = (dy_rows @ weight).reshape(x.shape)              # (1')
    dweight = dy_rows.T @ rows
    dbias = column_sums(dy_rows) if has_bias else None    # b was added to every row
    return dx, dweight, dbias


def matmul_reference(a: Array, b: Array, ta: bool = False, tb: bool = False) -> Array:
    a, b = _t(a, ta), _t(b, tb)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    y = np.zeros((*lead, a.shape[-2], b.shape[-1]))
    for *z, n, m in np.ndindex(*y.shape):
        for k in range(a.shape[-1]):
            y[*z, n, m] += a[*z, n, k] * b[*z, k, m]
    return y


def linear_reference(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.zeros((*x.shape[:-1], weight.shape[0]))
    for *z, o in np.ndindex(*y.shape):
        y[*z, o] = 0.0 if bias is None else bias[o]
        for i in range(x.shape[-1]):
            y[*z, o] += x[*z, i] * weight[o, i]
    return y


register(Op(matmul, matmul_backward, ("a", "b"), r"y = a \cdot b", r"da = dy \cdot b^\top,\; db = a^\top \cdot dy",
            "a (..., N, K), b (..., K, M) -> y (..., N, M)", matmul_reference,
            notation={"ta": r"\text{whether a is transposed first}", "tb": r"\text{whether b is}"}))
register(Op(linear, linear_backward, ("x", "weight", "bias"), r"y = x \cdot W^\top + b",
            r"dx = dy \cdot W,\; dW = dy^\top \cdot x,\; db_o = \sum_n dy_{no}",
            "x (..., I), weight (O, I), bias (O,) -> y (..., O)", linear_reference,
            notation={"weight": "W", "bias": "b", "has_bias": r"\text{whether there is a bias}"}))
