"""Planted wrong calculus: one-line edits of the true pairs, each of which the gradient check must reject."""

import importlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from minibert.ops.registry import REGISTRY, Op


class Mutant(NamedTuple):
    """`old` becomes `new` in the source of an operation's backward (or forward)."""

    op: str
    old: str
    new: str
    fault: str
    of: str = "backward"

    def build(self) -> Op:
        """The operation with this fault."""
        true = REGISTRY[self.op]
        function = compile_edited(getattr(true, self.of), self.old, self.new)
        return replace(true, backward=function) if self.of == "backward" else replace(true, forward=function)


def compile_edited(function: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    """The function with the only occurrence of `old` in its source replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    docstring_end = source.index('"""', source.index('"""') + 3)
    body = source[docstring_end:]
    if body.count(old) != 1 or old == new:
        raise ValueError(f"{old!r} occurs {body.count(old)} times in {function.__name__}, or nothing changes")
    names = dict(vars(importlib.import_module(function.__module__)))
    exec(compile(source[:docstring_end] + body.replace(old, new), f"<{function.__name__}>", "exec"), names)
    return names[function.__name__]


MUTANTS = [
    Mutant("add", "unbroadcast(dz, y_shape)", "-unbroadcast(dz, y_shape)", "wrong sign"),
    Mutant("add", "unbroadcast(dz, x_shape)", "dz", "broadcast not summed"),
    Mutant("add", "unbroadcast(dz, y_shape)", "dz", "broadcast not summed on the right"),
    Mutant("add", "unbroadcast(dz, x_shape)", "unbroadcast(dz, x_shape) * 0.0", "zero gradient"),
    Mutant("subtract", "-unbroadcast", "unbroadcast", "wrong sign"),
    Mutant("subtract", "unbroadcast(dz, x_shape), -unbroadcast(dz, y_shape)",
           "unbroadcast(-dz, x_shape), unbroadcast(dz, y_shape)", "signs of the two exchanged"),
    Mutant("multiply", "dz * y", "dz * x", "factor x instead of y"),
    Mutant("multiply", "unbroadcast(dz * x, y.shape)", "unbroadcast(dz, y.shape) * x",
           "summed before the product"),
    Mutant("multiply", "unbroadcast(dz * y, x.shape)", "dz * y", "broadcast not summed"),
    Mutant("divide", "-dx * z", "dx * z", "wrong sign"),
    Mutant("divide", "-dx * z", "-dx", "factor z missing"),
    Mutant("divide", "dx = dz / y", "dx = dz * y", "times instead of divided by"),
    Mutant("divide", "(x.shape, y, z)", "(x.shape, y, x + 0.0 * y)",
           "stale: x saved in the place of z", "forward"),
    Mutant("maximum", "array_module(dz).where(x == y, 0.5, x > y).astype(dz.dtype)",
           "((x > y) + (x >= y)).astype(dz.dtype) * 0.5",
           "two booleans added: True + True is True (minibert had this one)"),
    Mutant("maximum", "x > y", "x < y", "gradient to the smaller"),
    Mutant("maximum", "dz - dx", "dz", "the second always gets all"),
    Mutant("where", "xp.where(condition, dz, 0.0)", "dz", "condition forgotten"),
    Mutant("where", "xp.where(condition, 0.0, dz)", "xp.where(condition, dz, 0.0)", "branches exchanged"),
    Mutant("power", "(exponent - 1)", "exponent", "exponent not lowered"),
    Mutant("power", "exponent * x **", "x **", "factor p missing"),
    Mutant("exp", "dy * y", "dy", "factor y missing"),
    Mutant("exp", "y, (y,)", "y, (x,)", "stale: input saved in the place of the output", "forward"),
    Mutant("log", "dy / x", "dy * x", "times instead of divided by"),
    Mutant("log", ", (x,)", ", (array_module(x).log(x),)",
           "stale: output saved in the place of the input", "forward"),
    Mutant("sqrt", "2.0 * y", "y", "factor 2 missing"),
    Mutant("sqrt", "(y,)", "(x,)", "stale: input saved in the place of the output", "forward"),
    Mutant("relu", "(y > 0)", "(y >= 0)", "leaks where x < 0"),
    Mutant("relu", "dy * (y > 0)", "dy * y", "value instead of step"),
    Mutant("tanh", "1.0 - y * y", "1.0 - y", "square missing"),
    Mutant("tanh", "y, (y,)", "y, (x,)", "stale: input saved in the place of the output", "forward"),
    Mutant("sigmoid", "y * (1.0 - y)", "y", "factor 1 - y missing"),
    Mutant("sigmoid", "(1.0 - y)", "(1.0 + y)", "wrong sign"),
    Mutant("gelu", "dx *= x\n", "dx *= 0.0\n", "pdf term missing"),
    Mutant("gelu", "    dx += cdf\n", "", "cdf term missing"),
    Mutant("gelu", "-0.5", "-1.0", "exponent off by 2"),
    Mutant("gelu", "2.0 * math.pi", "math.pi", "constant of the pdf"),
    Mutant("gelu_tanh", "3.0 * CUBIC", "CUBIC", "factor 3 missing"),
    Mutant("gelu_tanh", "1.0 - t * t", "1.0 - t", "square missing"),
    Mutant("gelu_tanh", "    dx *= x\n", "", "factor x missing"),
    Mutant("gelu_tanh", "    dx += t\n", "", "term t missing"),
    Mutant("sum", "_expand(dy, x_shape, axis)", "_expand(dy, x_shape, axis) * 2.0", "wrong scale"),
    Mutant("sum", "_expand(dy, x_shape, axis)", "dy", "not stretched"),
    Mutant("mean", "math.prod(x_shape) / (dy.size or 1)", "math.prod(x_shape)",
           "divided by all numbers, not a cell's"),
    Mutant("mean", "dy / n", "dy", "1 / n missing"),
    Mutant("mean", "math.prod(x_shape) / (dy.size or 1)", "(x_shape or (1,))[-1]",
           "length of the wrong axis"),
    Mutant("max", "largest / shares * ", "", "every number gets the gradient"),
    Mutant("max", "largest / shares", "largest / x.size", "shared with those that are not largest"),
    Mutant("max", "x == _expand", "x != _expand", "everything but the largest"),
    Mutant("reshape", "dy.reshape(x_shape)", "dy.reshape(x_shape, order='F')", "column-major order"),
    Mutant("reshape", "dy.reshape(x_shape)", "dy", "shape of the output kept"),
    Mutant("transpose", "dy.transpose(inverse)", "dy.transpose(axes)",
           "same permutation instead of the inverse"),
    Mutant("transpose", "dy.transpose(inverse)", "dy", "not transposed back"),
    Mutant("broadcast_to", "unbroadcast(dy, x_shape)", "dy", "repetition not summed"),
    Mutant("broadcast_to", "unbroadcast(dy, x_shape)", "unbroadcast(dy, x_shape) / 2.0", "wrong scale"),
    Mutant("concatenate", "tuple(array", "tuple(-part for part in array", "wrong sign"),
    Mutant("concatenate", "np.cumsum(lengths)[:-1]", "np.cumsum(lengths[::-1])[:-1]",
           "cut in the wrong places"),
    Mutant("concatenate", "return tuple(", "return tuple(0.0 * part for part in ", "zero gradient"),
    Mutant("split_heads", "merge_heads(dy)[0]", "dy.reshape(dy.shape[0], dy.shape[2], -1)",
           "heads not moved back"),
    Mutant("split_heads", "merge_heads(dy)[0]", "merge_heads(dy[:, ::-1])[0]", "heads in reverse"),
    Mutant("merge_heads", "split_heads(dy, heads)[0]",
           "dy.reshape(dy.shape[0], heads, dy.shape[1], -1)", "heads not moved back"),
    Mutant("merge_heads", "(A,)", "(1,)", "stale: wrong number of heads saved", "forward"),
    Mutant("getitem", "xp.add.at(dx.reshape(-1), places.reshape(-1), dy.reshape(-1))", "dx[index] += dy",
           "repeated index lost"),
    Mutant("getitem", "dx[index] = dy", "pass", "zero gradient for slices"),
    Mutant("embedding", "xp.add.at(flat, places.reshape(-1), dy.reshape(-1))",
           "dtable[ids] += dy", "repeated token lost"),
    Mutant("embedding", "xp.add.at(flat, places.reshape(-1), dy.reshape(-1))",
           "dtable[ids] = dy", "last occurrence of a token wins"),
    Mutant("embedding", "(dtable,)", "(dtable / max(ids.size, 1),)", "averaged over the tokens"),
    Mutant("matmul", "db = _t(_t(a, ta)) @ dy", "db = _t(_t(a, ta)) @ dy * 0.5", "db off by 2"),
    Mutant("matmul", "_t(da, ta)", "da", "transpose flag of a forgotten"),
    Mutant("matmul", "_t(db, tb)", "db", "transpose flag of b forgotten"),
    Mutant("matmul", "unbroadcast(_t(db, tb), b.shape)", "_t(db, tb)", "batch not summed"),
    Mutant("matmul", "da = dy", "da = -dy", "wrong sign"),
    Mutant("linear", "column_sums(dy_rows)", "dy_rows.mean(axis=0)", "bias gradient averaged over the rows"),
    Mutant("linear", "column_sums(dy_rows)", "dy_rows[0]", "bias gradient of the first row only"),
    Mutant("linear", "dy_rows.T @ rows", "dy_rows[:1].T @ rows[:1]", "weight gradient of the first row only"),
    Mutant("linear", "dweight = dy_rows.T @ rows", "dweight = rows.T @ dy_rows",
           "weight gradient transposed"),
    Mutant("linear", "(dy_rows @ weight)", "(2.0 * dy_rows @ weight)", "wrong scale"),
    Mutant("linear", "return dx, dweight, dbias", "return dx, dweight, None", "no bias gradient"),
    Mutant("linear_gelu", "gelu_backward(dy, h, cdf)", "(dy * cdf,)", "pdf term missing"),
    Mutant("linear_gelu", "gelu_backward(dy, h, cdf)", "gelu_backward(dy, h, h * cdf)", "y in the place of cdf"),
    Mutant("linear_gelu", "gelu_backward(dy, h, cdf)", "gelu_backward(dy, cdf, h)", "h and cdf exchanged"),
    Mutant("linear_gelu", "linear_backward(dh,", "linear_backward(dy,", "slope of GELU forgotten"),
    Mutant("linear_gelu", "return dx, dweight, dbias", "return dx, dweight, dy.reshape(-1, dy.shape[-1]).sum(axis=0)",
           "bias gradient past GELU"),
    Mutant("linear_gelu", "return dx, dweight, dbias", "return dx, dweight, dbias / dbias.size",
           "bias gradient averaged over the columns"),
    Mutant("linear_gelu", "(x, weight, h, cdf)\n", "(x, weight, h - bias, cdf)\n",
           "stale: the product saved without its bias", "forward"),
    Mutant("linear_gelu", "(x, weight, h, cdf)\n", "(x, weight, y, cdf)\n",
           "stale: y saved in the place of h", "forward"),
    Mutant("softmax", "(dp - (dp * p).sum(axis=-1, keepdims=True))", "dp", "sum not subtracted"),
    Mutant("softmax", "(dp * p).sum", "dp.sum", "sum without weights"),
    Mutant("softmax", "(dp * p).sum(axis=-1", "(dp * p).sum(axis=0", "wrong axis"),
    Mutant("softmax", "(dp * p).sum(", "(dp * p).max(", "largest instead of sum"),
    Mutant("softmax", "dx = p *", "dx = 0.0 * p *", "zero gradient, which a cotangent of ones cannot tell"),
    Mutant("softmax", "p /= total", "total = 1.0; p /= total", "not normalised", "forward"),
    Mutant("log_softmax", "array_module(dy).exp(y) * ", "", "factor p missing"),
    Mutant("log_softmax", "dy - ", "dy + ", "wrong sign"),
    Mutant("log_softmax", "exp(y)", "exp(-y)", "sign in the exponent"),
    Mutant("layer_norm", "    dx -= shift\n", "", "projection on 1 missing"),
    Mutant("layer_norm", "    dx -= xhat * scale\n", "", "projection on xhat missing"),
    Mutant("layer_norm", "    dx *= rstd", "    pass", "1 / sigma missing"),
    Mutant("layer_norm", "dxhat = dy * gamma", "dxhat = dy * 1.0", "gamma missing"),
    Mutant("layer_norm", "return dx, dgamma, dbeta", "return dx, dbeta, dgamma", "gradients exchanged"),
    Mutant("layer_norm", "xhat * scale", "xhat * scale * xhat.shape[-1] / max(xhat.shape[-1] - 1, 1)",
           "unbiased variance"),
    Mutant("layer_norm", "dbeta = dy.reshape(-1, H).sum(axis=0)", "dbeta = dy.reshape(-1, H).mean(axis=0)",
           "mean for sum"),
    Mutant("layer_norm", "(xhat, rstd, gamma)", "(xhat, rstd, gamma * 0.0 + 1.0)",
           "stale: gamma not saved", "forward"),
    Mutant("layer_norm", "(xhat, rstd, gamma)", "(y, rstd, gamma)",
           "stale: y saved in the place of xhat", "forward"),
    Mutant("attention", "(k * q.shape[-1] ** -0.5)", "k", "1 / sqrt(D) missing"),
    Mutant("attention", "    dscores -= row_dots(dprobs, probs)[..., None]\n", "",
           "softmax's sum not subtracted"),
    Mutant("attention", "    dscores *= probs", "    pass", "softmax's factor missing"),
    Mutant("attention", "(q * q.shape[-1] ** -0.5)", "(q * 0.5 * q.shape[-1] ** -0.5)",
           "dk off by 2"),
    Mutant("attention", "return dq, dk, dv", "return dq, dv, dk", "dk and dv exchanged"),
    Mutant("attention", "dropped(probs, keep, scale)", "probs", "dropout missing in dv"),
    Mutant("attention", "dropped(dcontext @ v.swapaxes(-1, -2), keep, scale)",
           "dcontext @ v.swapaxes(-1, -2)",
           "dropout missing in dprobs"),
    Mutant("attention", "dprobs, probs)[..., None]", "dprobs, dropped(probs, keep, scale))[..., None]",
           "softmax's sum over dropped probabilities"),
    Mutant("attention", "probs, keep, scale)\n", "dropped(probs, keep, scale), keep, scale)\n",
           "stale: probabilities saved after dropout", "forward"),
    Mutant("add_norm", "dh = dropped(ds, keep, scale)", "dh = ds", "dropout missing in dh"),
    Mutant("add_norm", "return dh, ds, dgamma, dbeta", "return ds, dh, dgamma, dbeta", "dh and dx exchanged"),
    Mutant("add_norm", "return dh, ds, dgamma, dbeta", "return dh, dh, dgamma, dbeta", "dropout on the residual, too"),
    Mutant("add_norm", "return dh, ds, dgamma, dbeta", "return dh, dy, dgamma, dbeta", "residual past the norm"),
    Mutant("add_norm", "gamma, keep, scale, bias", "gamma, keep, 1.0, bias", "stale: no scale saved", "forward"),
    Mutant("add_norm", "column_sums(dh)", "column_sums(ds)", "dropout missing in dbias"),
    Mutant("add_norm", "column_sums(dh)", "column_sums(dy)", "dbias past the norm"),
    Mutant("add_norm", "column_sums(dh)", "dh.reshape(-1, dh.shape[-1]).mean(axis=0)",
           "bias gradient averaged over the rows"),
    Mutant("add_norm", "dbeta, dbias", "dbias, dbeta", "dbeta and dbias exchanged"),
    Mutant("add_norm", "if has_bias else None", "if False else None", "no bias gradient"),
    Mutant("add_norm", "        if keep is not None:\n", "        if False:\n",
           "stale: dropout saved and, where there is a bias, not done", "forward"),
    Mutant("dropout", "dropped(dy, keep, scale)", "dropped(dy, keep, 1.0)", "not scaled"),
    Mutant("dropout", "dropped(dy, keep, scale)", "dropped(dy, None, scale)", "not masked"),
    Mutant("dropout", "dropped(dy, keep, scale)", "dropped(dy, None if keep is None else ~keep, scale)",
           "mask inverted"),
    Mutant("dropout", "(keep, scale)", "(keep, 1.0 - p)",
           "stale: 1 - p saved in the place of its inverse", "forward"),
    Mutant("cross_entropy", "    dchosen[xp.arange(rows.size), classes] -= dloss * scale", "    pass",
           "one-hot missing"),
    Mutant("cross_entropy", "p * (dloss * scale)", "p * dloss", "1 / count missing"),
    Mutant("cross_entropy", "-= dloss * scale", "-= scale", "incoming gradient missing"),
    Mutant("cross_entropy", "dlogits = xp.zeros(logits_shape, dtype=p.dtype)",
           "dlogits = xp.full(logits_shape, float(dloss * scale), dtype=p.dtype)",
           "leaks to unlabelled rows"),
    Mutant("cross_entropy", "rows, classes, scale, logits",
           "rows, classes, 1.0 / max(labels.size, 1), logits",
           "stale: averaged over all positions", "forward"),
]
