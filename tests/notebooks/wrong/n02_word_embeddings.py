import numpy as np


def _one_hot(E, ids):
    one_hot = np.zeros((len(ids), len(E)))
    one_hot[np.arange(len(ids)), ids] = 1
    return one_hot


def _written_once(dy, ids, shape):
    dtable = np.zeros(shape)
    dtable[ids] += dy
    return dtable


def _tied_once(dx, ids, dz, h):
    dE = dz.T @ h
    dE[ids] += dx
    return dE


def _overwritten(dx, ids, dz, h):
    dE = dz.T @ h
    dE[ids] = dx
    return dE


def _lookup_alone(dx, ids, dz, h):
    dE = np.zeros((dz.shape[1], h.shape[1]))
    np.add.at(dE, ids, dx)
    return dE


def _without_maximum(C):
    q = C.sum(0) ** 0.75
    with np.errstate(divide="ignore"):
        return np.log(C / (C.sum(1)[:, None] * q / q.sum()))


def _without_smoothing(C):
    with np.errstate(divide="ignore"):
        return np.maximum(0, np.log(C * C.sum() / (C.sum(1)[:, None] * C.sum(0))))


def _not_normalised(C):
    with np.errstate(divide="ignore"):
        return np.maximum(0, np.log(C / (C.sum(1)[:, None] * C.sum(0) ** 0.75)))


def _summed_first(C):
    q = C.sum(0) ** 0.75 / C.sum() ** 0.75
    with np.errstate(divide="ignore"):
        return np.maximum(0, np.log(C / (C.sum(1)[:, None] * q)))


WRONG = {
    "2.1": [(lambda E, ids: (_one_hot(E, ids).T, E[ids]), "a row for each place of the text"),
            (lambda E, ids: E[ids], "1 result, and 2 are asked for: one_hot, x"),
            (lambda E, ids: (_one_hot(E, ids - 1), _one_hot(E, ids - 1) @ E), "ids begin with 0")],
    "2.2": [([[0, 0], [-2, 4], [3, -1], [0, 0]], "only its last row of dx arrived"),
            ([[0, 0], [1, 2.5], [3, -1], [0, 0]], "that is the mean"),
            ([[2, 5], [3, -1]], "it has shape 2x2, and 4x2 is right")],
    "2.3": [(_written_once, "keeps only the last of its rows"),
            (lambda dy, ids, shape: _written_once(dy.reshape(-1, shape[1])[::-1], ids.reshape(-1)[::-1], shape),
             "the term of its further places is missing"),
            (lambda dy, ids, shape: np.eye(shape[0])[ids.reshape(-1)].T @ -dy.reshape(-1, shape[1]),
             "the whole has its sign turned"),
            (lambda dy, ids, shape: dy[ids], "it raised IndexError"),
            (lambda dy, ids, shape: np.eye(shape[0])[ids].T @ dy, "matmul")],
    "2.4": [([30522, 900], "exchanged"), ([900, 900], "a score for every word"), ([4096, 30522], "only one row")],
    "2.5": [(_tied_once, "use np.add.at"), (_overwritten, "it must add to it"),
            (lambda dx, ids, dz, h: dz.T @ h, "the term of the lookup (the scatter-add of dx) is missing"),
            (_lookup_alone, "the term of the output layer (dz^T h) is missing")],
    "2.6": [(1.0, "that is the first step"), (0.0, "remember the first step"), (0.09 / 0.19, "the root of s"),
            (0.09 / np.sqrt(0.000999), "both are corrected"), (0.7, "too large")],
    "2.7": [(_without_maximum, "negative numbers remain"), (_without_smoothing, "not smoothed"),
            (_not_normalised, "must sum to 1"), (_summed_first, "is raised to the power first")],
}
