import numpy as np


def _s(x, k):
    return np.eye(len(x), k=k) @ x


def _dW(dy, x):
    return np.stack([_s(x, k).T @ dy for k in (-1, 0, 1)])


def _halves(t, hidden):
    angles = np.outer(t, 10000.0 ** (-np.arange(0, hidden, 2) / hidden))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


WRONG = {
    "3.1": [(2, "another word stands at position 2"), (3, "who stands at position 2 now"),
            (0, "the row of the word a")],
    "3.2": [(lambda dz, x_shape, y_shape: (dz, dz), "the sum over all of them"),
            (lambda dz, x_shape, y_shape: (dz, dz if x_shape == y_shape else dz.mean(0)), "this is a mean"),
            (lambda dz, x_shape, y_shape: (dz, dz.sum(0)), "nothing was stretched"),
            (lambda dz, x_shape, y_shape: dz, "1 result, and 2 are asked for")],
    "3.3": [(_halves, "here all sines come first"),
            (lambda t, hidden: np.sin(np.outer(t, np.ones(hidden // 2))), "and 5x8 is right"),
            (lambda t, hidden: np.stack([(np.cos if i % 2 else np.sin)(t / 10000 ** (2 * i / hidden))
                                         for i in range(hidden)], axis=1), "here it numbers the columns"),
            (lambda t, hidden: -_interleaved(t, hidden), "the whole has its sign turned")],
    "3.4": [(64, "half as many pairs"), (1, "the pairs are added up"), (5.656854, "its square is asked")],
    "3.5": [(lambda dy, x, W: (dy @ W[1].T, _dW(dy, x)), "the term dy[t + 1] W[0]^T is missing"),
            (lambda dy, x, W: (_s(dy, -1) @ W[0].T + dy @ W[1].T + _s(dy, 1) @ W[2].T, _dW(dy, x)),
             "back they go the other way"),
            (lambda dy, x, W: (np.roll(dy, -1, 0) @ W[0].T + dy @ W[1].T + np.roll(dy, 1, 0) @ W[2].T,
                               np.stack([np.roll(x, k, 0).T @ dy for k in (1, 0, -1)])), "wraps around"),
            (lambda dy, x, W: (_s(dy, 1) @ W[0] + dy @ W[1] + _s(dy, -1) @ W[2], _dW(dy, x)), "must be transposed"),
            (lambda dy, x, W: (_s(dy, 1) @ W[0].T + dy @ W[1].T + _s(dy, -1) @ W[2].T, _dW(dy, x)[::-1]),
             "first and last matrix exchanged")],
    "3.6": [(16, "that is the variance"), (8, "numbers of variance 1"), (0, "scatter around it")],
}


def _interleaved(t, hidden):
    both = _halves(t, hidden)
    return np.stack([both[:, :hidden // 2], both[:, hidden // 2:]], axis=-1).reshape(len(t), hidden)
