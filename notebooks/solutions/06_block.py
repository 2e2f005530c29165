"""Solutions to the exercises of notebook 6: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 6.1  The squares have the mean 1, so the sum 768.
lab.answer("6.1", np.sqrt(768))


# %% 6.2  What was shared is summed; then off the mean, off xhat, times rstd.
@lab.answer("6.2")
def layer_norm_backward(dy, xhat, rstd, gamma):
    H = dy.shape[-1]
    dgamma = (dy * xhat).reshape(-1, H).sum(axis=0)
    dbeta = dy.reshape(-1, H).sum(axis=0)
    dxhat = dy * gamma
    shift = dxhat.mean(axis=-1, keepdims=True)
    scale = (dxhat * xhat).mean(axis=-1, keepdims=True)
    return rstd * (dxhat - shift - xhat * scale), dgamma, dbeta


# %% 6.3  Two matrices, and a bias as long as what comes out of each: two thirds of a block.
lab.answer("6.3", 2 * 768 * 3072 + 3072 + 768)


# %% 6.4  A product whose factors both hold x.
@lab.answer("6.4")
def gelu_backward(dy, x, cdf):
    pdf = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return dy * (cdf + x * pdf)


# %% 6.5  The same line twice.
@lab.answer("6.5")
def block(x, attend, feed, norm1, norm2):
    x1 = norm1(x + attend(x))
    return norm2(x1 + feed(x1))


# %% 6.6  Each of 24 sums has the variance 2, so each norm divides by the root of 2.
lab.answer("6.6", np.sqrt(2) ** 24)
