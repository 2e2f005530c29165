"""Solutions to the exercises of notebook 7: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 7.1  What was said, minus (0, 1, 0).
lab.answer("7.1", [0.7, 0.2 - 1.0, 0.1])


# %% 7.2  Said minus true at the labelled rows, 0 elsewhere.
@lab.answer("7.2")
def cross_entropy_backward(dloss, p, rows, classes, scale, logits_shape):
    d = p.copy()
    d[np.arange(len(classes)), classes] -= 1.0
    dlogits = np.zeros(logits_shape)
    dlogits.reshape(-1, logits_shape[-1])[rows] = d * scale * dloss
    return dlogits


# %% 7.3  The largest power is 1 then, so neither exp nor log can fail.
@lab.answer("7.3")
def log_sum_exp(x):
    largest = x.max(axis=-1, keepdims=True)
    return largest[..., 0] + np.log(np.exp(x - largest).sum(axis=-1))


# %% 7.4  All of them: the decoder gives every word a probability, and so a gradient.
lab.answer("7.4", 30522)

# %% 7.5  Positions, times words, times bytes.
lab.answer("7.5", 256 * 512 * 30522 * 4 / 1e9)

# %% 7.6  The sum of all surprises over the number of all labels.
lab.answer("7.6", (2 * 5.0 + 8 * 3.0) / (2 + 8))
