"""Solutions to the exercises of notebook 1: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 1.1  Through the product comes b, through the sum 1, and they are added: b + 1.
lab.answer("1.1", -3.0 + 1.0)

# %% 1.2  Two ways for each doubling, and every way takes both of the next.
lab.answer("1.2", 2**20)


# %% 1.3  New axes in front go, stretched ones keep their place with length 1.
@lab.answer("1.3")
def my_unbroadcast(d, shape):
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    for i, n in enumerate(shape):
        if n == 1:
            d = d.sum(axis=i, keepdims=True)
    return d


# %% 1.4  The other operand, transposed, on the side where it was.
@lab.answer("1.4")
def my_matmul_backward(dy, a, b):
    return dy @ b.T, a.T @ dy


# %% 1.5
@lab.answer("1.5")
def my_gradient(f, x, h):
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        gradient[i] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


# %% 1.6  1 through its own y, and -1 through the mean: with ones, x - mean(x) has the gradient 0.
lab.answer("1.6", [0, 0, 0])
