import numpy as np


def _tree_up(v):
    steps, d = [], 1
    while d < len(v):
        v = v + v[np.arange(len(v)) ^ d]
        steps.append(v)
        d *= 2
    return np.array(steps)


def _linear_gelu(slope=True, curved=True, sign=1.0):
    def backward(dy, x, weight, h, cdf):
        pdf = np.exp(-0.5 * h * h) / np.sqrt(2 * np.pi)
        dh = dy * (cdf + sign * curved * h * pdf) if slope else dy
        rows = dh.reshape(-1, dh.shape[-1])
        return dh @ weight, rows.T @ x.reshape(-1, x.shape[-1]), rows.sum(0)
    return backward


WRONG = {
    "12.1": [([13, 14, 15], "a block of neighbours"), ([13, 18, 23], "one block's stride"),
             ([17, 37, 57], "exchanged"), ([13, 33], "it has shape 2, and 3 is right")],
    "12.2": [(lambda x, threads: np.array([p.sum() for p in np.array_split(x, threads)]), "took neighbours"),
             (lambda x, threads: x.sum(), "it has shape (), and 4 is right"),
             (lambda x, threads: x.reshape(-1, threads).sum(0), "it raised ValueError")],
    "12.3": [(_tree_up, "partners come nearer in the wrong order"), (lambda v: v.sum(), "it has shape ()")],
    "12.4": [(20, "which n has it"), (240, "2 n^3 operations"), (100, "too small")],
    "12.5": [(6, "how many times"), (10 / 3, "y and xhat"), (4, "too large")],
    "12.6": [(_linear_gelu(slope=False), "the slope of GELU was left out"),
             (_linear_gelu(curved=False), "the term (dy h pdf) W is missing"),
             (_linear_gelu(sign=-1.0), "the term (dy h pdf) W has its sign turned"),
             (lambda dy, x, weight, h, cdf: _linear_gelu()(dy, x, weight, h, cdf)[:2], "2 results, and 3 are asked")],
    "12.7": [(lambda x, bits: np.ldexp(np.rint(np.frexp(x)[0] * 2.0 ** (bits - 1)), np.frexp(x)[1] - bits + 1),
              "one bit too few"),
             (lambda x, bits: np.ldexp(np.trunc(np.frexp(x)[0] * 2.0**bits), np.frexp(x)[1] - bits), "cut off"),
             (lambda x, bits: np.rint(x * 2.0**bits) / 2.0**bits, "of x itself")],
    "12.8": [(4.2, "at the same time"), (1.2, "the GPU's part"), (3000, "3000 us")],
}
