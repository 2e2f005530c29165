import numpy as np


def _layer_norm(shift=1.0, scale=1.0, rstd_power=1, axis=None, gain=True):
    def backward(dy, xhat, rstd, gamma):
        lead = tuple(range(dy.ndim - 1)) if axis is None else axis
        dxhat = dy * gamma if gain else dy
        dx = (dxhat - shift * dxhat.mean(-1, keepdims=True)
              - scale * xhat * (dxhat * xhat).mean(-1, keepdims=True)) * rstd**rstd_power
        return dx, (dy * xhat).sum(lead), dy.sum(lead)
    return backward


def _gelu(dy, x, cdf, sign=1.0):
    return dy * (cdf + sign * x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


WRONG = {
    "6.1": [(1.0, "root of their sum"), (768.0, "square of the length"), (27.0, "too small")],
    "6.2": [(_layer_norm(shift=0.0), "the term -rstd mean(dxhat) is missing"),
            (_layer_norm(scale=0.0), "the term -rstd xhat mean(dxhat xhat) is missing"),
            (_layer_norm(scale=-1.0), "the term -rstd xhat mean(dxhat xhat) has its sign turned"),
            (_layer_norm(rstd_power=0), "the factor rstd is missing"),
            (_layer_norm(rstd_power=2), "the factor rstd is in it twice"),
            (_layer_norm(gain=False), "dxhat is dy gamma"),
            (_layer_norm(axis=-1), "dgamma, input 1 of 3"),
            (lambda dy, xhat, rstd, gamma: _layer_norm()(dy, xhat, rstd, gamma)[0], "3 are asked for: dx, dgamma")],
    "6.3": [(4718592, "biases are missing"), (2362368, "two matrices"), (3072, "too small")],
    "6.4": [(lambda dy, x, cdf: dy * cdf, "the term dy x phi(x) is missing"),
            (lambda dy, x, cdf: _gelu(dy, x, cdf, -1.0), "the term dy x phi(x) has its sign turned"),
            (lambda dy, x, cdf: _gelu(1.0, x, cdf), "must be multiplied with dy"),
            (lambda dy, x, cdf: dy * (cdf + x * np.exp(-x * x / 2)), "lacks its 1 / sqrt(2 pi)")],
    "6.5": [(lambda x, attend, feed, norm1, norm2: norm2(feed(norm1(x + attend(x)))), "second residual is missing"),
            (lambda x, attend, feed, norm1, norm2: norm2(x + feed(norm1(x + attend(x)))), "the block began with"),
            (lambda x, attend, feed, norm1, norm2: norm1(x + attend(x)) + feed(norm1(x + attend(x))), "norm of step 4"),
            (lambda x, attend, feed, norm1, norm2: norm1(x + attend(x))[0], "5x4, and 2x5x4 is right")],
    "6.6": [(64.0, "24 of them"), (2.0**24, "not by 2, the variance"), (1 / 4096, "by what was it divided")],
}
