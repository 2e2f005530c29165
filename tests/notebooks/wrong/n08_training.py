import numpy as np


def _adamw(correct=True, sign=1.0, square=True, decays=True, share=True):
    def step(w, g, m, v, t, lr, b1, b2, eps, decay):
        m = b1 * m + ((1 - b1) * g if share else g)
        v = b2 * v + (1 - b2) * (g**2 if square else g)
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if correct else (m, v)
        return m, v, w - decays * lr * decay * w - sign * lr * m_hat / (np.sqrt(np.abs(v_hat)) + eps)
    return step


WRONG = {
    "8.1": [(np.log(30522), "next-sentence loss comes on top"), (np.log2(30522) + 1, "in bits"), (1.0, "too small")],
    "8.2": [(1.5, "in bits"), (np.log(3), "does not know the frequencies"), (-1.0397, "too small")],
    "8.3": [(1.0, "with bias correction"), (100.0, "root in the denominator"), (15.811, "the gradient cancels")],
    "8.4": [(_adamw(correct=False), "the bias correction is missing"),
            (_adamw(sign=-1.0), "the term -lr m_hat / (sqrt(v_hat) + eps) has its sign turned"),
            (_adamw(decays=False), "the term -lr decay w is missing"),
            (lambda w, g, m, v, *rest: _adamw()(w, g, m, v, *rest)[2], "1 result, and 3 are asked for"),
            (lambda w, g, m, v, t, lr, b1, b2, eps, decay: (b1 * m, b2 * v, w), "the term (1 - b1) g is missing")],
    "8.5": [(lambda s, peak, warmup, total: peak * np.minimum(s / warmup, 1.0), "stays at its peak"),
            (lambda s, peak, warmup, total: peak * np.minimum(s / warmup, (total - s) / (total - warmup)),
             "0 comes after it"),
            (lambda s, peak, warmup, total: 2 * peak * np.minimum(s / warmup, (total + 1 - s) / (total + 1 - warmup)),
             "2 times as large")],
    "8.6": [([1.0, 0.0], "turns the direction"), ([0.6, 0.8, 0.0, 0.0], "2 is right"), ([0.12, 0.0], "square of the")],
    "8.7": [(lambda dy, keep, scale: dy * keep, "the factor scale is missing"),
            (lambda dy, keep, scale: dy * scale, "the factor keep is missing"),
            (lambda dy, keep, scale: -dy * keep * scale, "its sign turned"),
            (lambda dy, keep, scale: dy * keep / scale, "divided by scale")],
    "8.8": [(3.5, "the mean of the means"), (11.0, "divide it by how many"), (2.9, "too large")],
}
