"""The end of every sub-layer: bias, dropout, the residual sum, and its normalisation, in one operation."""

import numpy as np

from minibert.backend import Array
from minibert.ops.broadcast import column_sums
from minibert.ops.dropout import SURVIVORS, DropoutKey, draw, dropped, keep_part
from minibert.ops.normalization import layer_norm, layer_norm_backward, layer_norm_reference
from minibert.ops.registry import Op, register


def add_norm(h: Array, x: Array, gamma: Array, beta: Array, eps: float = 1e-12, p: float = 0.0,
             key: DropoutKey | None = None, bias: Array | None = None) -> tuple[Array, tuple]:
    """Add what a sub-layer made of x to x, and normalise the sum: "Add & Norm".

        (1)  s = x + dropout(h + b)
        (2)  y = layer_norm(s)

    h, x (..., H), gamma (H,), beta (H,), bias (H,) or None  ->  y (..., H).  p > 0 drops numbers of h + b, by `key`.
    The bias is that of the affine map that ends the sub-layer, where h is its product alone.
    Vaswani et al. 2017, figure 1 and section 5.4 (arXiv:1706.03762).
    """
    keep, scale = draw(h, p, key)
    if bias is None:
        s = x + dropped(h, keep, scale)                                   # (1)
    else:
        s = h + bias                                                      # an array of our own: the rest is in place
        if keep is not None:
            s *= keep
            s *= scale
        s += x                                                            # (1)
    y, (xhat, rstd, gamma) = layer_norm(s, gamma, beta, eps)              # (2)
    return y, (xhat, rstd, gamma, keep, scale, bias is not None)


def add_norm_backward(dy: Array, xhat: Array, rstd: Array, gamma: Array, keep: Array | None, scale: float,
                      has_bias: bool) -> tuple[Array, Array, Array, Array, Array | None]:
    """dy (..., H)  ->  dh, dx (..., H), dgamma, dbeta (H,), dbias (H,) or None.

        (2')  ds, dgamma, dbeta = layer_norm'(dy)
        (1')  dx = ds,  dh = dropout(ds),  db = sum(dh)
    """
    ds, dgamma, dbeta = layer_norm_backward(dy, xhat, rstd, gamma)        # (2')
    dh = dropped(ds, keep, scale)                                         # (1')
    dbias = column_sums(dh) if has_bias else None
    return dh, ds, dgamma, dbeta, dbias


def add_norm_reference(h: Array, x: Array, gamma: Array, beta: Array, eps: float = 1e-12, p: float = 0.0,
                       key: DropoutKey | None = None, bias: Array | None = None) -> Array:
    kept = keep_part(h.shape, p, key) if key else np.ones(h.shape)
    s = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        biased = h[index] + (0.0 if bias is None else bias[index[-1]])
        s[index] = x[index] + (biased / (1 - round(p * 65536) / 65536) if kept[index] else 0.0)
    return layer_norm_reference(s, gamma, beta, eps)


register(Op(add_norm, add_norm_backward, ("h", "x", "gamma", "beta", "bias"),
            r"s = x + \frac{r\,(h + b)}{1 - p},\; y = \gamma\,\hat s + \beta,\; \hat s = \frac{s - \mu}{\sigma},\;"
            r" \mu = \overline s,\; \sigma = \sqrt{\overline{(s - \mu)^2} + \epsilon},\;"
            r" r \sim \mathrm{Bernoulli}(1 - p)",
            r"ds = \frac1\sigma (d\hat s - \overline{d\hat s} - \hat s\,\overline{d\hat s\,\hat s}),\;"
            r" d\hat s = dy\,\gamma,\; dx = ds,\; dh = \frac{r\,ds}{1 - p},\;"
            r" d\gamma_i = \sum_n dy_{ni}\,\hat s_{ni},\; d\beta_i = \sum_n dy_{ni},\;"
            r" db_i = \sum_n dh_{ni}",
            "h, x (..., H), gamma (H,), beta (H,), bias (H,) -> y (..., H)", add_norm_reference,
            "Vaswani et al. 2017, figure 1 and section 5.4 (arXiv:1706.03762)",
            notation={"eps": r"\epsilon", "xhat": r"\hat s", "rstd": r"\frac1\sigma", "bias": "b",
                      "has_bias": r"\text{whether there is a bias}", **SURVIVORS}))
