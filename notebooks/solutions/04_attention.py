"""Solutions to the exercises of notebook 4: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 4.1  A sum of 64 independent products, each of variance 1.
lab.answer("4.1", 64.0)


# %% 4.2
@lab.answer("4.2")
def attention_probs(q, k, mask):
    scores = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    largest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isinf(largest), 0.0, largest))
    total = powers.sum(axis=-1, keepdims=True)
    return powers / (total + (total == 0))


# %% 4.3
@lab.answer("4.3")
def softmax_backward(dp, p):
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


# %% 4.4
p = np.array([0.5, 0.25, 0.25])
lab.answer("4.4", np.diag(p) - np.outer(p, p))


# %% 4.5
@lab.answer("4.5")
def attention_backward(dcontext, q, k, v, probs):
    dprobs = dcontext @ v.swapaxes(-1, -2)
    dv = probs.swapaxes(-1, -2) @ dcontext
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    scale = q.shape[-1] ** -0.5
    return dscores @ k * scale, dscores.swapaxes(-1, -2) @ q * scale, dv


# %% 4.6  Every score of a query moves by the same q . c / sqrt(D), which softmax does not see.
lab.answer("4.6", 0.0)
