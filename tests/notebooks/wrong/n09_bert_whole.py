import numpy as np


def _softmax(z):
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _probe(mean=True, truth=1.0):
    def gradient(x, y, W, b):
        dz = _softmax(x @ W.T + b) - truth * np.eye(len(W))[y]
        dz = dz / len(x) if mean else dz
        return dz.T @ x, dz.sum(axis=0)
    return gradient


def _distances(E, i, k):
    order = np.argsort(((E - E[i]) ** 2).sum(axis=1))
    return order[order != i][:k]


WRONG = {
    "9.1": [(2**4.16, "in nats"), (4.16, "the loss itself"), (100.0, "too large")],
    "9.2": [("yes", "guessing does better"), (0.0, "a word is asked for")],
    "9.3": [(lambda dy, x, weight: (dy @ weight, x.T @ dy, dy.sum(axis=0)), "turned round"),
            (lambda dy, x, weight: (dy @ weight, dy.T @ x, dy.mean(axis=0)), "not the mean"),
            (lambda dy, x, weight: (-dy @ weight, dy.T @ x, dy.sum(axis=0)), "the whole has its sign turned"),
            (lambda dy, x, weight: (dy @ weight, dy.T @ x), "2 results, and 3 are asked for")],
    "9.4": [(_probe(mean=False), "the factor 1 / N is missing"),
            (_probe(truth=0.0), "the term -truth^T x / N is missing"),
            (_probe(truth=-1.0), "the term -truth^T x / N has its sign turned"),
            (lambda x, y, W, b: _probe()(x, y, W, b)[0], "1 result, and 2 are asked for")],
    "9.5": [(0.02, "which share"), (0.81, "how often it is right"), (0.5, "too large")],
    "9.6": [(_distances, "by the distance of the vectors"),
            (lambda E, i, k: [j for j in np.argsort(-(E @ E[i])) if j != i][:k], "long vectors win"),
            (lambda E, i, k: np.argsort(E @ E[i] / np.linalg.norm(E, axis=1))[:k], "farthest")],
}
