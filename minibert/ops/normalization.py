"""Layer normalisation."""

import math

import numpy as np

from minibert.backend import Array, array_module, row_dots
from minibert.ops.registry import Op, register


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-12) -> tuple[Array, tuple]:
    """Give the last axis mean 0 and variance 1, then scale and shift it.

        (1)  xc   = x - mean(x)
        (2)  rstd = 1 / sqrt(mean(xc^2) + eps)
        (3)  xhat = xc rstd
        (4)  y    = gamma xhat + beta

    x (..., H), gamma (H,), beta (H,)  ->  y (..., H)
    Ba et al. 2016, section 3 (arXiv:1607.06450).  BERT uses eps = 1e-12 and the biased variance.
    """
    xc = x - _row_means(x, array_module(x).ones(x.shape[-1], x.dtype))    # (1)
    rstd = 1.0 / array_module(x).sqrt(_row_means(xc, xc) + eps)           # (2)
    xhat = xc
    xhat *= rstd                                                          # (3)
    y = xhat * gamma
    y += beta                                                             # (4)
    return y, (xhat, rstd, gamma)


def layer_norm_backward(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """dy (..., H)  ->  dx (..., H), dgamma (H,), dbeta (H,).

        (4')     dgamma = sum(dy xhat),  dbeta = sum(dy),  dxhat = dy gamma
        (3'-1')  dx = rstd (dxhat - mean(dxhat) - xhat mean(dxhat xhat))

    The last line is a projection.  (1) made every constant shift of x invisible, so that component is
    removed by `- mean(dxhat)`; (2) made every rescaling of xc invisible, so that component is removed by
    `- xhat mean(dxhat xhat)`.
    """
    H = xhat.shape[-1]
    xp = array_module(dy)
    dgamma = xp.einsum("nh,nh->h", dy.reshape(-1, H), xhat.reshape(-1, H))  # (4')
    dbeta = dy.reshape(-1, H).sum(axis=0)
    dxhat = dy * gamma
    shift = _row_means(dy, gamma)                                         # (1')
    scale = _row_means(dxhat, xhat)                                       # (2')
    dx = dxhat
    dx -= shift
    dx -= xhat * scale
    dx *= rstd                                                            # (3')
    return dx, dgamma, dbeta


def _row_means(a: Array, b: Array) -> Array:
    """mean(a b) over the last axis, kept as an axis of length 1; the product is never stored."""
    means = row_dots(a, b)[..., None]
    means /= a.shape[-1]
    return means


def layer_norm_reference(x: Array, gamma: Array, beta: Array, eps: float = 1e-12) -> Array:
    y = np.empty(x.shape)
    H = x.shape[-1]
    for index in np.ndindex(*x.shape[:-1]):
        row = x[index].tolist()
        mu = math.fsum(row) / H
        variance = math.fsum((v - mu) ** 2 for v in row) / H
        for h in range(H):
            y[*index, h] = gamma[h] * (row[h] - mu) / math.sqrt(variance + eps) + beta[h]
    return y


register(Op(layer_norm, layer_norm_backward, ("x", "gamma", "beta"),
            r"y = \gamma\,\hat x + \beta,\; \hat x = \frac{x - \mu}{\sigma},\;"
            r" \mu = \overline x,\; \sigma = \sqrt{\overline{(x - \mu)^2} + \epsilon}",
            r"dx = \frac1\sigma (d\hat x - \overline{d\hat x} - \hat x\,\overline{d\hat x\,\hat x}),\;"
            r" d\hat x = dy\,\gamma,\; d\gamma_h = \sum_n dy_{nh}\,\hat x_{nh},\; d\beta_h = \sum_n dy_{nh}",
            "x (..., H), gamma (H,), beta (H,) -> y (..., H)", layer_norm_reference,
            "Ba et al. 2016, section 3 (arXiv:1607.06450)", notation={"eps": r"\epsilon", "rstd": r"\frac1\sigma"}))
