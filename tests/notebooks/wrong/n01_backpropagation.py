import numpy as np


def _one_sided(f, x, h):
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = h
        gradient[i] = (f(x + step) - f(x)) / h
    return gradient


WRONG = {
    "1.1": [(-3.0, "a is also added"), (1.0, "also multiplied"), (-2.5, "too small")],
    "1.2": [(40, "they multiply"), (2**19, "one doubling too few"), (2**20 + 1, "too large")],
    "1.3": [(lambda d, shape: d, "it has shape 2x3, and 3 is right"),
            (lambda d, shape: d.sum(axis=tuple(range(d.ndim - len(shape)))), "stretched are not yet"),
            (lambda d, shape: d.sum(axis=0), "3, and 2x1 is right")],
    "1.4": [(lambda dy, a, b: (a.T @ dy, dy @ b.T), "exchanged"),
            (lambda dy, a, b: (dy @ b.T, -a.T @ dy), "the whole has its sign turned"),
            (lambda dy, a, b: (dy @ b, a.T @ dy), "it raised ValueError: matmul"),
            (lambda dy, a, b: dy @ b.T, "1 result, and 2 are asked for: da, db")],
    "1.5": [(_one_sided, "one-sided difference"),
            (lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h), "it has shape (), and 2x3 is right")],
    "1.6": [([1, 1, 1], "the mean's share"), ([0, 0], "it has shape 2, and 3 is right")],
}
