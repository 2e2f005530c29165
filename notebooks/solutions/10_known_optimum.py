"""Solutions to the exercises of notebook 10: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab


# %% 10.1
@lab.answer("10.1")
def forward(o, start, move, emit):
    e = o @ emit.T
    alpha = np.empty_like(e)
    alpha[0] = start * e[0]
    for t in range(1, len(e)):
        alpha[t] = (alpha[t - 1] @ move) * e[t]
    return alpha


# %% 10.2  Seen the first word, topic 1 has probability 0.3 / (0.3 + 0.1).
lab.answer("10.2", 0.75 * 0.5 + 0.25 * 0.1)

# %% 10.3  Each mask alone has two words that are equally likely: one bit each.
lab.answer("10.3", 2.0)

# %% 10.4  Say "next" where the topics are the same: wrong for a fifth of the random half.
lab.answer("10.4", 0.5 * 1.0 + 0.5 * (1.0 - 1 / 5))


# %% 10.5
@lab.answer("10.5")
def log_softmax_backward(dy, y):
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)


# %% 10.6  The mean of onehot(y) is q.
lab.answer("10.6", np.array([0.25, 0.5, 0.25]) - np.array([0.5, 0.25, 0.25]))

# %% 10.7
lab.answer("10.7", (5.0 - 2.2) / (5.0 - 1.5))
