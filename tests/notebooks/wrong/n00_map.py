import numpy as np


def _written_once(dy, x_shape, index):
    dx = np.zeros(x_shape)
    dx[index] += dy
    return dx


def _last(dy, x_shape, index):
    dx = np.zeros(x_shape)
    np.add.at(dx, (slice(None), -1) if str(index) == str((slice(None), 0)) else index, dy)
    return dx


def _first(dy, x_shape, index):
    places = np.arange(np.prod(x_shape)).reshape(x_shape)[index]
    dx = np.zeros(int(np.prod(x_shape)))
    for place, d in list(zip(places.ravel(), dy.ravel(), strict=True))[::-1]:
        dx[place] = d
    return dx.reshape(x_shape)


def _one_residual(x, attention, feed_forward, norm):
    a = norm(x + attention(x))
    return norm(feed_forward(a))


def _pre_norm(x, attention, feed_forward, norm):
    a = x + attention(norm(x))
    return a + feed_forward(norm(a))


WRONG = {
    "0.1": [(np.log(30522), "masked words alone"), (np.log2(30522) + 1, "in bits"), (11.0, "too small")],
    "0.2": [(3 * 768 * 768, "bias of 768 numbers"), (3 * (256 * 256 + 256), "not a third of it"),
            (4 * (768 * 768 + 768), "the attention's fourth")],
    "0.3": [(_written_once, "keeps only its last gradient"),
            (lambda dy, x_shape, index: dy, "it has shape 2x3, and 2x4x3 is right"),
            (_last, "the gradient of reading the last"), (_first, "the term of what was read again is missing")],
    "0.4": [(_one_residual, "the second residual is missing"), (_pre_norm, "BERT normalises after each sum"),
            (lambda x, attention, feed_forward, norm: norm(x + feed_forward(norm(x + attention(x)))), "begins at a"),
            (lambda x, attention, feed_forward, norm: norm(feed_forward(norm(attention(x)))), "no residual at all")],
    "0.5": [([1, 0, 0, 1], "turned round"), ([0, 1, 0, 0], "ends the document"),
            ([0, 0, 1, 0], "that is not the question"), ([0, 1, 1, 1], "it does follow")],
    "0.6": [([16, 768], "a vector for each token"), ([16, 512, 768], "not what this text has"),
            ([16, 40, 30522], "the output layer's")],
}
