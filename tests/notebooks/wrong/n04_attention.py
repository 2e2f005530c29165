import numpy as np


def _t(x):
    return x.swapaxes(-1, -2)


def _attention(scale=True, subtract=True, sign=1.0):
    def backward(dcontext, q, k, v, probs):
        dprobs = dcontext @ _t(v)
        ds = probs * (dprobs - subtract * (dprobs * probs).sum(-1, keepdims=True))
        ds = ds * q.shape[-1] ** -0.5 if scale else ds
        return ds @ k, sign * _t(ds) @ q, _t(probs) @ dcontext
    return backward


def _softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


WRONG = {
    "4.1": [(8.0, "standard deviation"), (1.0, "variance of one product"), (63.0, "too small")],
    "4.2": [(lambda q, k, mask: _softmax(np.where(mask, q @ k.T / np.sqrt(q.shape[-1]), -1e9)),
             "may look nowhere got equal shares"),
            (lambda q, k, mask: _softmax(q @ k.T / np.sqrt(q.shape[-1])) * mask, "after the softmax"),
            (lambda q, k, mask: (q @ k.T).T, "5x3, and 3x5 is right (it is transposed)"),
            (lambda q, k, mask: print(q @ k.T, end=""), "`return` missing")],
    "4.3": [(lambda dp, p: p * dp, "the term -p sum(dp p) is missing"),
            (lambda dp, p: p * (dp + (dp * p).sum(-1, keepdims=True)), "the term -p sum(dp p) has its sign turned"),
            (lambda dp, p: -p * (dp - (dp * p).sum(-1, keepdims=True)), "the whole has its sign turned"),
            (lambda dp, p: p * (dp - (dp * p).sum()), "each row has its own")],
    "4.4": [([[0.5, 0, 0], [0, 0.25, 0], [0, 0, 0.25]], "subtract p p^T"), ([0.25, 0.1875, 0.1875], "3x3 is right")],
    "4.5": [(_attention(scale=False), "the factor 1 / sqrt(D) is missing"),
            (_attention(subtract=False), "the term -(P sum(dP P)) k / sqrt(D) is missing"),
            (_attention(sign=-1.0), "dk"),
            (lambda dc, q, k, v, p: _attention()(dc, q, k, v, p)[:2], "2 results, and 3 are asked for")],
    "4.6": [(1.0, "cancels in the softmax"), (0.5, "too large")],
}
