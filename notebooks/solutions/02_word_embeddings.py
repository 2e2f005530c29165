"""Solutions to the exercises of notebook 2: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab


# %% 2.1  Row n has its single 1 in column ids[n].
@lab.answer("2.1")
def one_hot_lookup(E, ids):
    one_hot = np.zeros((len(ids), len(E)))
    one_hot[np.arange(len(ids)), ids] = 1
    return one_hot, one_hot @ E


# %% 2.2  Words 0 and 3 are not in the text; word 1 is there twice: (4, 1) + (-2, 4).
lab.answer("2.2", [[0, 0], [2, 5], [3, -1], [0, 0]])


# %% 2.3  Zeros, to which every place adds its row.
@lab.answer("2.3")
def my_embedding_backward(dy, ids, table_shape):
    dtable = np.zeros(table_shape)
    np.add.at(dtable, ids, dy)
    return dtable


# %% 2.4  The words of the batch; with a tied output layer, every word there is.
lab.answer("2.4", [900, 30522])


# %% 2.5  Used twice, so two gradients, added.
@lab.answer("2.5")
def tied_gradient(dx, ids, dz, h):
    dE = dz.T @ h
    np.add.at(dE, ids, dx)
    return dE


# %% 2.6  m has shrunk to 0.09 g, s to 0.000999 g^2, and both are corrected for two steps.
lab.answer("2.6", (0.09 / 0.19) / np.sqrt(0.000999 / 0.001999))


# %% 2.7
@lab.answer("2.7")
def more_than_by_chance(C):
    C_a = C.sum(axis=1)
    q = C_a**0.75 / (C_a**0.75).sum()
    with np.errstate(divide="ignore"):
        return np.maximum(0, np.log(C / (C_a[:, None] * q)))
