"""Why an operation gave a number that is not finite, in words: one small function for each cause.

A cause is asked only when what came in was finite (or -inf by a mask); it answers "" when it is not the one.
"""

import numpy as np

from minibert.debug.blaming.evidence import Cause, Evidence, arithmetic, at, bad_places, limit, peak
from minibert.debug.blaming.row_causes import (
    affine,
    attention_scores,
    context_overflow,
    empty_total,
    infinite_in_row,
    infinite_logit,
    masked_row,
    norm_row,
    norm_slope,
    products,
    residual_row,
)
from minibert.summary import number


def cause_of(evidence: Evidence) -> str:
    """The cause in words; where none is known, that."""
    name = evidence.node.op.name
    causes = (BACKWARD if evidence.wanted else FORWARD).get(name, ())
    with np.errstate(all="ignore"):
        answers = (cause(evidence) for cause in causes)
        return next(filter(None, answers), f"not known for {name}: look at its operands")


def operands(symbol: str, x: str, y: str) -> Cause:
    """Elementwise arithmetic on two operands."""
    return lambda e: arithmetic(symbol, e[x], e[y], (x, y), e.index)


def term(symbol: str, dy: str, other: str, wanted: str = "") -> Cause:
    """A factor of a gradient: the incoming one, times or divided by what was saved."""
    return lambda e: arithmetic(symbol, e[dy], e[other], (dy, other)) if wanted in ("", e.wanted) else ""


def exp_overflow(e: Evidence) -> str:
    """exp(x) beyond the largest number."""
    return f"exp({number(e.at('x'))}){at(e.index)} is above {limit(e.result.dtype)}"


def log_domain(e: Evidence) -> str:
    """log(x) at 0 or below."""
    x = e.at("x")
    why = "the logarithm of 0 is -inf" if x == 0.0 else "a negative number has no real logarithm"
    return f"log({number(x)}){at(e.index)}: {why}"


def sqrt_domain(e: Evidence) -> str:
    """sqrt(x) below 0."""
    return f"sqrt({number(e.at('x'))}){at(e.index)}: a negative number has no real square root"


def power_domain(e: Evidence) -> str:
    """x^exponent."""
    return _power(e, e.at("x"), e["exponent"], e.index)


def power_slope(e: Evidence) -> str:
    """dy exponent x^(exponent - 1)."""
    x, exponent = e["x"], e["exponent"] - 1
    slope = np.asarray(x**exponent)
    for index in bad_places(slope, most=1):
        return f"the slope holds {_power(e, float(x[index]), exponent, index)}"
    return arithmetic("*", e["dy"], e["exponent"] * slope, ("dy", "p x^(p-1)"))


def _power(e: Evidence, x: float, exponent: float, index: tuple[int, ...]) -> str:
    formula = f"({number(x)})^({number(exponent)}){at(index)}"
    if x == 0.0:
        return f"{formula}: 0 to a negative power is a division by 0"
    if x < 0.0 and not float(exponent).is_integer():
        return f"{formula}: a fractional power of a negative number is not real"
    return f"{formula} is above {limit(e.result.dtype)}"


def summands(e: Evidence) -> str:
    """A sum or a mean."""
    x = e["x"]
    n = x.size // max(np.size(e.result), 1)
    return f"a sum of {n:,} numbers that reach {number(peak(x))} is above {limit(e.result.dtype)}"


def matrix_slope(factors: dict[str, tuple[str, ...]]) -> Cause:
    """The gradient of a matrix: a product of the incoming one and the other matrix."""
    return lambda e: products(*factors[e.wanted])(e)


def masked_gelu(e: Evidence) -> str:
    """x Phi(x) at -inf."""
    return f"-inf * Phi(-inf) = -inf * 0 = nan{at(e.index)}: mask after it, not before" if e.at("x") == -np.inf else ""


def gelu_tanh_square(e: Evidence) -> str:
    """x^2 in the slope."""
    x = e.at("x")
    if abs(x) <= float(np.finfo(e.result.dtype).max)**0.5:
        return ""
    return (f"x = {number(x)}{at(e.index)}: in its slope, x^2 is above {limit(e.result.dtype)} and 1 - tanh^2 is 0, "
            f"and 0 times infinity has no value")


def quotient_slope(e: Evidence) -> str:
    """-dz z / y."""
    return arithmetic("*", e["dz"] / e["y"], e["z"], ("dz / y", "z")) if e.wanted == "y" else ""


def overflow(e: Evidence) -> str:
    """Of an operation that only adds, picks or scales."""
    given = [x for x in e.values.values() if getattr(x, "dtype", np.dtype(bool)).kind == "f"]
    if np.isinf(e.result[e.index]) and all(np.isfinite(x).all() for x in given):
        return f"all that came in is finite, and a sum or a product of it is above {limit(e.result.dtype)}"
    return ""


def inside(e: Evidence) -> str:
    """A part of a model that is recomputed is one operation of the graph."""
    return ("it happened inside this part of the model, which keeps nothing: set `recompute` of the encoder to False, "
            "run the forward pass again, and blame names the operation")


FORWARD: dict[str, tuple[Cause, ...]] = {
    "add": (operands("+", "x", "y"),),
    "subtract": (masked_row, operands("-", "x", "y")),
    "multiply": (operands("*", "x", "y"),),
    "divide": (empty_total, operands("/", "x", "y")),
    "exp": (exp_overflow,), "log": (log_domain,), "sqrt": (sqrt_domain,), "power": (power_domain,),
    "sum": (summands,), "mean": (summands,),
    "matmul": (products("a", "b"),), "linear": (affine,), "linear_gelu": (affine,),
    "attention": (attention_scores, context_overflow),
    "log_softmax": (masked_row, infinite_in_row),
    "layer_norm": (norm_row, overflow), "add_norm": (residual_row, overflow),
    "cross_entropy": (infinite_logit, overflow),
    "gelu": (masked_gelu, overflow), "gelu_tanh": (masked_gelu, overflow),
    "dropout": (overflow,), "recompute_forward": (inside,),
}
BACKWARD: dict[str, tuple[Cause, ...]] = {
    "multiply": (term("*", "dz", "y", "x"), term("*", "dz", "x", "y"), overflow),
    "divide": (term("/", "dz", "y"), quotient_slope, overflow),
    "power": (power_slope,),
    "exp": (term("*", "dy", "y"),), "log": (term("/", "dy", "x"),), "sqrt": (term("/", "dy", "y"), overflow),
    "matmul": (matrix_slope({"a": ("dy", "b"), "b": ("a", "dy")}),),
    **dict.fromkeys(("linear", "linear_gelu"),
                    (matrix_slope({"x": ("dy", "weight"), "weight": ("dy", "x"), "bias": ("dy",)}),)),
    "attention": (products("dcontext", "q", "k", "v"),),
    "softmax": (term("*", "dp", "p"), overflow),
    "layer_norm": (norm_slope,), "add_norm": (norm_slope,),
    "gelu_tanh": (gelu_tanh_square, overflow),
    **dict.fromkeys(("add", "subtract", "maximum", "embedding", "getitem", "broadcast_to", "dropout", "log_softmax"),
                    (overflow,)),
    "recompute_forward": (inside,),
}
