"""The widening half of a feed-forward network: an affine map and its GELU, in one operation."""

from minibert.backend import Array
from minibert.ops.activation import GELU_PAPER, gelu, gelu_backward, gelu_reference
from minibert.ops.linear import linear, linear_backward, linear_reference
from minibert.ops.registry import Op, register


def linear_gelu(x: Array, weight: Array, bias: Array) -> tuple[Array, tuple]:
    """GELU of an affine map of the last axis.

        (1)  h = x W^T + b
        (2)  y = gelu(h) = h cdf,  cdf = Phi(h)

    x (..., I), weight (O, I), bias (O,)  ->  y (..., O).
    Vaswani et al. 2017, eq. 2 (arXiv:1706.03762), with GELU in the place of max(0, .), as in Devlin et al. 2019.
    """
    h, _ = linear(x, weight, bias)                        # (1)
    y, (h, cdf) = gelu(h)                                 # (2)
    return y, (x, weight, h, cdf)


def linear_gelu_backward(dy: Array, x: Array, weight: Array, h: Array, cdf: Array) -> tuple[Array, Array, Array]:
    """dy (..., O)  ->  dx (..., I), dweight (O, I), dbias (O,).

        (2')  dh = dy gelu'(h)
        (1')  dx = dh W,  dW = dh^T x,  db = sum(dh)
    """
    (dh,) = gelu_backward(dy, h, cdf)                     # (2')
    dx, dweight, dbias = linear_backward(dh, x, weight, has_bias=True)    # (1')
    return dx, dweight, dbias


def linear_gelu_reference(x: Array, weight: Array, bias: Array) -> Array:
    return gelu_reference(linear_reference(x, weight, bias))


register(Op(linear_gelu, linear_gelu_backward, ("x", "weight", "bias"),
            r"h = x \cdot W^\top + b,\; y = h\,\Phi(h),\; \Phi(h) = \tfrac12 (1 + \mathrm{erf}(h / \sqrt 2))",
            r"dh = dy\,(\Phi(h) + h\,\phi(h)),\; \phi(h) = e^{-h^2 / 2} / \sqrt{2\pi},\;"
            r" dx = dh \cdot W,\; dW = dh^\top \cdot x,\; db_o = \sum_n dh_{no}",
            "x (..., I), weight (O, I), bias (O,) -> y (..., O)", linear_gelu_reference, GELU_PAPER,
            notation={"weight": "W", "bias": "b", "cdf": r"\Phi(h)"}))
