"""Solutions to the exercises of notebook 3: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 3.1  At position 2 stands b, whose result was row 1.
lab.answer("3.1", 1)


# %% 3.2  What was stretched over the batch is summed over the batch.
@lab.answer("3.2")
def my_add_backward(dz, x_shape, y_shape):
    return dz, dz if y_shape == x_shape else dz.sum(axis=0)


# %% 3.3
@lab.answer("3.3")
def my_sinusoids(t, hidden):
    waves = np.outer(t, 10000.0 ** (-np.arange(0, hidden, 2) / hidden))
    P = np.empty((len(t), hidden))
    P[:, 0::2], P[:, 1::2] = np.sin(waves), np.cos(waves)
    return P


# %% 3.4  32 pairs of columns, and each gives sin^2 + cos^2 = 1.
lab.answer("3.4", 32)


# %% 3.5  Shifts and matrices go back transposed.
@lab.answer("3.5")
def my_convolution_backward(dy, x, W):
    before, after = np.eye(len(x), k=-1), np.eye(len(x), k=1)
    dx = before.T @ dy @ W[0].T + dy @ W[1].T + after.T @ dy @ W[2].T
    return dx, np.stack([(before @ x).T @ dy, x.T @ dy, (after @ x).T @ dy])


# %% 3.6  64 terms of variance 1/4.
lab.answer("3.6", np.sqrt(64 / 4))
