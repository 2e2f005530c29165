"""Why an operation keeps something for its backward: the formula that reads it, or a phrase where words say more."""

import re

from minibert.debug.formulas import as_text
from minibert.ops.registry import Op

WORDS = {  # for names that mean the same wherever they stand, under an empty operation
    ("", "x_shape"): "the gradient of x has this shape",
    ("", "y_shape"): "the gradient of y has this shape",
    ("", "axis"): "the axis to stretch or to cut along",
    ("", "scale"): "survivors of dropout were multiplied by this number",
    ("", "has_bias"): "whether there is a bias to hand a gradient to",
    ("", "keep"): "dropped numbers had no part in y: gradient 0",
    ("add_norm", "xhat"): "dgamma = sum(dy xhat); ds is projected away from it",
    ("add_norm", "rstd"): "ds is divided by the standard deviation, as s was",
    ("add_norm", "gamma"): "the gradient of xhat is dy gamma",
    ("layer_norm", "xhat"): "dgamma = sum(dy xhat); dx is projected away from it",
    ("layer_norm", "rstd"): "dx is divided by the standard deviation, as x was",
    ("attention", "probs"): "the weights of dv; dscores = p (dp - sum(dp p))",
    ("attention", "keep"): "probabilities that were dropped get no gradient",
    ("cross_entropy", "p"): "the gradient is p - onehot(label)",
    ("cross_entropy", "rows"): "positions without a label get gradient 0",
    ("cross_entropy", "classes"): "1 is subtracted from p at the right class",
    ("cross_entropy", "scale"): "1 / count: the loss is a mean",
    ("cross_entropy", "logits_shape"): "the gradient has this shape",
    ("embedding", "ids"): "dy is added to the rows that were read",
    ("embedding", "table_shape"): "rows that were not read get gradient 0",
    ("getitem", "index"): "dy is added at the places that were read",
    ("matmul", "ta"): "whether a was transposed",
    ("matmul", "tb"): "whether b was transposed",
    ("transpose", "axes"): "the permutation to invert",
    ("concatenate", "lengths"): "where to cut dy",
    ("merge_heads", "heads"): "into how many heads to split dy",
    ("where", "condition"): "dy goes to the one that was taken",
    ("recompute_forward", "function"): "it is run again, this time with a graph",
    ("recompute_forward", "x"): "what the function is run again on",
    ("recompute_forward", "place"): "where its dropout stood, so that the same is dropped",
    ("recompute_forward", "modules"): "the module it was called in, for names",
}
SYMBOLS = {"weight": "W", "cdf": r"\Phi", "gamma": r"\gamma", "exponent": "p"}  # how the formulas spell a name


def reason(op: Op, name: str) -> str:
    """Why backward needs what `op` saves under this name."""
    words = WORDS.get((op.name, name)) or WORDS.get(("", name))
    return words or "; ".join(map(as_text, equations(op, name))) or f"read by {as_text(op.gradient)}"


def equations(op: Op, name: str) -> list[str]:
    """Those parts of the gradient's formula (LaTeX) whose right side reads this name."""
    symbol = re.escape(SYMBOLS.get(name, name))
    read = re.compile(rf"(?<![A-Za-z\\]){symbol}(?![A-Za-z])")
    parts = re.split(r",\\;\s*", op.gradient)
    return [part for part in parts if read.search(part.partition("=")[2])]
