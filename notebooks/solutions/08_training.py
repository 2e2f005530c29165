"""Solutions to the exercises of notebook 8: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 8.1  Every word as likely as the next, and so both answers about the pair.
lab.answer("8.1", np.log(30522) + np.log(2))

# %% 8.2  The mean of -ln f, each word as often as it comes.
f = np.array([0.5, 0.25, 0.25])
lab.answer("8.2", -(f * np.log(f)).sum())

# %% 8.3  m = 0.1 * 5, v = 0.001 * 5^2: the 5 cancels.
lab.answer("8.3", 0.1 * 5 / np.sqrt(0.001 * 5**2))


# %% 8.4
@lab.answer("8.4")
def my_adamw(w, g, m, v, t, lr, b1, b2, eps, decay):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    w = w - lr * decay * w
    w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return m, v, w


# %% 8.5
@lab.answer("8.5")
def my_rate(steps, peak, warmup, total):
    return peak * np.minimum(steps / warmup, (total + 1 - steps) / (total + 1 - warmup))


# %% 8.6  The length of (3, 0, 0, 4) is 5.
lab.answer("8.6", [3 / 5, 0.0])


# %% 8.7
@lab.answer("8.7")
def my_dropout_backward(dy, keep, scale):
    return dy * keep * scale


# %% 8.8  (3 * 2 + 1 * 5) / 4
lab.answer("8.8", 11 / 4)
