import numpy as np


def _merge(d):
    return d.swapaxes(1, 2).reshape(len(d), d.shape[2], -1)


WRONG = {
    "5.1": [(12 * 4 * 768 * 768, "768 numbers to 64"), (3 * 768 * 768, "W^O is one of the four"), (1000, "too small")],
    "5.2": [(lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1), "gives the first head the first positions"),
            (lambda x, heads: x.reshape(len(x), x.shape[1], heads, -1), "must still be exchanged"),
            (lambda x, heads: x.reshape(*x.shape[:2], -1, heads).transpose(0, 3, 1, 2), "not (D, A)"),
            (lambda x, heads: np.split(x, heads, axis=-1)[0], "and 2x3x5x2 is right")],
    "5.3": [(lambda dy, heads: dy.reshape(len(dy), heads, dy.shape[1], -1), "the gradients of the first positions"),
            (lambda dy, heads: dy, "and 2x3x5x2 is right"),
            (lambda dy, heads: -dy.reshape(*dy.shape[:2], heads, -1).swapaxes(1, 2), "the whole has its sign turned")],
    "5.4": [(lambda dq, dk, dv, Wq, Wk, Wv: _merge(dv) @ Wv + _merge(dk) @ Wk, "the term dq Wq is missing"),
            (lambda dq, dk, dv, Wq, Wk, Wv: _merge(dq) @ Wq + _merge(dk) @ Wk - _merge(dv) @ Wv,
             "the term dv Wv has its sign turned"),
            (lambda dq, dk, dv, Wq, Wk, Wv: _merge(dq) @ Wq.T + _merge(dk) @ Wk.T + _merge(dv) @ Wv.T,
             "the matrices are turned"),
            (lambda dq, dk, dv, Wq, Wk, Wv: dq @ Wq, "it raised ValueError")],
    "5.5": [(0.5, "one cannot be wrong"), (0.1, "without looking"), (1.0, "too large")],
    "5.6": [(lambda dc, c: dc.sum((0, 2, 3)), "multiply with the head's context"),
            (lambda dc, c: np.einsum("batd,batd->a", dc, c) / len(c), "the examples are added up"),
            (lambda dc, c: (dc * c).sum((2, 3)), "sum over them, too"),
            (lambda dc, c: -(dc * c).sum((0, 2, 3)), "the whole has its sign turned")],
    "5.7": [(196608, "the biases of query, key and value"), (147648, "its slice of W^O goes as well"),
            (4, "too small")],
}
