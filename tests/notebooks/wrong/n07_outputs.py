import numpy as np


def _cross_entropy(with_p=1.0, with_label=1.0, scaled=True, weighted=True):
    def backward(dloss, p, rows, classes, scale, logits_shape):
        d = with_p * p
        d[np.arange(len(classes)), classes] -= with_label
        d *= (scale if scaled else 1.0) * (dloss if weighted else 1.0)
        dlogits = np.zeros(logits_shape)
        dlogits.reshape(-1, logits_shape[-1])[rows] = d
        return dlogits
    return backward


def _overflowing(x):
    with np.errstate(all="ignore"):
        return np.log(np.exp(x).sum(axis=-1))


WRONG = {
    "7.1": [([-0.7, 0.8, -0.1], "true minus said"), ([0.7, 0.2, 0.1], "subtract 1 at the right word"),
            (-0.8, "3 is right")],
    "7.2": [(_cross_entropy(with_p=0.0), "the term p is missing"),
            (_cross_entropy(with_label=0.0), "the term -onehot(label) is missing"),
            (_cross_entropy(with_p=-1.0, with_label=-1.0), "the whole has its sign turned"),
            (_cross_entropy(with_label=-1.0), "the term -onehot(label) has its sign turned"),
            (_cross_entropy(scaled=False), "the factor scale (one over the count) is missing"),
            (_cross_entropy(weighted=False), "the factor dloss is missing"),
            (lambda dloss, p, rows, classes, scale, shape: _cross_entropy()(
                dloss, p, np.arange(len(p)), classes, scale, p.shape), "4x5, and 2x3x5 is right"),
            (lambda dloss, p, rows, classes, scale, shape: p.__isub__(1.0), "it changes an array")],
    "7.3": [(_overflowing, "exp overflows"), (lambda x: x.max(axis=-1), "the largest number alone"),
            (lambda x: np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1)), "must be added after log"),
            (lambda x: x.max(-1, keepdims=True), "3x1, and 3 is right")],
    "7.4": [(20, "the lookup reaches"), (3, "p is 0 nowhere"), (30521, "too small")],
    "7.5": [(4.0, "each takes 4 bytes"), (32.0, "not 8"), (100.0, "too large")],
    "7.6": [(4.0, "mean of the two means"), (34.0, "divide by how many"), (3.5, "too large")],
}
