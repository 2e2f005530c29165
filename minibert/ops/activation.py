"""Activation functions, elementwise: x (...) -> y (...)."""

import math

from minibert.backend import Array, array_module
from minibert.ops.elementwise import ONE, elementwise_reference
from minibert.ops.erf import normal_cdf
from minibert.ops.registry import Op, register

SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
CUBIC = 0.044715  # Hendrycks and Gimpel 2016, section 2


def relu(x: Array) -> tuple[Array, tuple]:
    """y = max(x, 0).  Vaswani et al. 2017, eq. 2."""
    y = array_module(x).maximum(x, 0.0)
    return y, (y,)


def relu_backward(dy: Array, y: Array) -> tuple[Array]:
    """dx = dy where y > 0; at the kink x = 0 the gradient is 0."""
    return (dy * (y > 0),)


def tanh(x: Array) -> tuple[Array, tuple]:
    """y = tanh(x).  Backward needs the output, not the input."""
    y = array_module(x).tanh(x)
    return y, (y,)


def tanh_backward(dy: Array, y: Array) -> tuple[Array]:
    """dx = dy (1 - y^2)."""
    return (dy * (1.0 - y * y),)


def sigmoid(x: Array) -> tuple[Array, tuple]:
    """y = 1 / (1 + e^-x), written as (1 + tanh(x / 2)) / 2, which cannot overflow."""
    y = 0.5 + 0.5 * array_module(x).tanh(0.5 * x)
    return y, (y,)


def sigmoid_backward(dy: Array, y: Array) -> tuple[Array]:
    """dx = dy y (1 - y)."""
    return (dy * y * (1.0 - y),)


def gelu(x: Array) -> tuple[Array, tuple]:
    """Gaussian error linear unit, exact: x times the chance that a normal number is below x.

        (1)  cdf = Phi(x) = (1 + erf(x / sqrt(2))) / 2
        (2)  y   = x cdf

    Hendrycks and Gimpel 2016, section 2 (arXiv:1606.08415).  Hugging Face calls it `gelu`.
    """
    cdf = normal_cdf(x)                                   # (1)
    y = x * cdf                                           # (2)
    return y, (x, cdf)


def gelu_backward(dy: Array, x: Array, cdf: Array) -> tuple[Array]:
    """(2')  dx = dy (cdf + x pdf),  (1')  pdf = Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
    xp = array_module(x)
    dx = xp.asarray(x * x)                                # NumPy makes x * x a scalar where x is 0-d
    dx *= -0.5
    xp.exp(dx, out=dx)
    dx *= 1.0 / math.sqrt(2.0 * math.pi)                  # (1')
    dx *= x
    dx += cdf
    dx *= dy                                              # (2')
    return (dx,)


def gelu_tanh(x: Array) -> tuple[Array, tuple]:
    """The tanh approximation of GELU, at most 5e-4 away from it.

        (1)  t = tanh(sqrt(2 / pi) (x + 0.044715 x^3))
        (2)  y = x (1 + t) / 2

    Hendrycks and Gimpel 2016, section 2.  Google's BERT code uses it; Hugging Face calls it `gelu_new`.
    """
    xp = array_module(x)
    t = xp.asarray(x * x)                                 # NumPy makes x * x a scalar where x is 0-d
    t *= CUBIC
    t += 1.0
    t *= x
    t *= SQRT_2_OVER_PI
    xp.tanh(t, out=t)                                     # (1)
    y = t + 1.0
    y *= x
    y *= 0.5                                              # (2)
    return y, (x, t)


def gelu_tanh_backward(dy: Array, x: Array, t: Array) -> tuple[Array]:
    """(2')  dx = dy ((1 + t) + x dt) / 2,  (1')  dt = (1 - t^2) sqrt(2 / pi) (1 + 3 0.044715 x^2)."""
    slope = x * x
    slope *= 3.0 * CUBIC
    slope += 1.0
    slope *= SQRT_2_OVER_PI
    slope *= 1.0 - t * t                                  # (1')
    dx = slope
    dx *= x
    dx += t
    dx += 1.0
    dx *= 0.5
    dx *= dy                                              # (2')
    return (dx,)


def relu_reference(x: Array) -> Array:
    return elementwise_reference(_relu_number, x)


def _relu_number(x: float) -> float:
    return x if x > 0 else 0.0


def tanh_reference(x: Array) -> Array:
    return elementwise_reference(math.tanh, x)


def sigmoid_reference(x: Array) -> Array:
    return elementwise_reference(_sigmoid_number, x)


def _sigmoid_number(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gelu_reference(x: Array) -> Array:
    return elementwise_reference(_gelu_number, x)


def _gelu_number(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh_reference(x: Array) -> Array:
    return elementwise_reference(_gelu_tanh_number, x)


def _gelu_tanh_number(x: float) -> float:
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


GELU_PAPER = "Hendrycks and Gimpel 2016, section 2 (arXiv:1606.08415)"
register(Op(relu, relu_backward, ("x",), r"y = \max(x, 0)", r"dx = dy\,[y > 0]", ONE, relu_reference,
            "Vaswani et al. 2017, eq. 2 (arXiv:1706.03762)", kinks="where x = 0: the gradient is 0"))
register(Op(tanh, tanh_backward, ("x",), r"y = \tanh x", r"dx = dy\,(1 - y^2)", ONE, tanh_reference))
register(Op(sigmoid, sigmoid_backward, ("x",), r"y = \frac{1}{1 + e^{-x}}", r"dx = dy\,y\,(1 - y)", ONE,
            sigmoid_reference))
register(Op(gelu, gelu_backward, ("x",),
            r"y = x\,\Phi(x),\; \Phi(x) = \tfrac12 (1 + \mathrm{erf}(x / \sqrt 2))",
            r"dx = dy\,(\Phi(x) + x\,\phi(x)),\; \phi(x) = e^{-x^2 / 2} / \sqrt{2\pi}", ONE,
            gelu_reference, GELU_PAPER, notation={"cdf": r"\Phi(x)"}))
register(Op(gelu_tanh, gelu_tanh_backward, ("x",),
            r"y = \tfrac12 x (1 + t),\; t = \tanh(\sqrt{2/\pi}\,(x + 0.044715\,x^3))",
            r"dx = \tfrac12 dy\,(1 + t + x (1 - t^2) \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2))", ONE,
            gelu_tanh_reference, GELU_PAPER))
