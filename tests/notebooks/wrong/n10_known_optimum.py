import numpy as np


def _forward(o, start, move, emit):
    e = o @ emit.T
    rows = [start * e[0]]
    for row in e[1:]:
        rows.append((rows[-1] @ move) * row)
    return np.array(rows)


def _turned(o, start, move, emit):
    return _forward(o, start, move.T, emit)


def _by_index(o, start, move, emit):
    e = emit[:, o.argmax(-1)].T
    rows = [start * e[0]]
    for row in e[1:]:
        rows.append((rows[-1] @ move) * row)
    return np.array(rows)


def _sum(dy):
    return dy.sum(-1, keepdims=True)


WRONG = {
    "10.1": [(_turned, "move is turned round"),
             (lambda *language: _forward(*language)[-1], "it has shape 3, and 4x3 is right"),
             (lambda *language: (lambda a: a / a.sum(-1, keepdims=True))(_forward(*language)), "not normalised"),
             (lambda o, *rest: _forward(o * (o.sum(-1, keepdims=True) == 1), *rest), "a mask made everything 0"),
             (_by_index, "a mask was read as word 0"),
             (lambda o, start, move, emit: _forward(o, 1.0, move, emit), "start is missing"),
             (lambda *language: 2 * _forward(*language), "the whole is 2 times as large")],
    "10.2": [(0.3, "before the first word was seen"), (0.08, "divide it by that of the first"), (0.45, "too large")],
    "10.3": [(1.0, "asks for each alone"), (4.0, "one bit for each"), (0.0, "too small")],
    "10.4": [(1.0, "always recognises"), (0.8, "half of the pairs are no random ones"), (0.95, "too large")],
    "10.5": [(lambda dy, y: dy, "the term -exp(y) sum(dy) is missing"),
             (lambda dy, y: dy + np.exp(y) * _sum(dy), "the term -exp(y) sum(dy) has its sign turned"),
             (lambda dy, y: dy - y * _sum(dy), "y is the logarithm"),
             (lambda dy, y: np.exp(y) * _sum(dy) - dy, "the whole has its sign turned"),
             (lambda dy, y: np.exp(y) * (dy - _sum(np.exp(y) * dy)), "backward of softmax")],
    "10.6": [([0.25, -0.25, 0.0], "the sign is turned"), ([-0.75, 0.5, 0.25], "for one label"),
             ([-0.25, 0.25], "3 is right")],
    "10.7": [(0.2, "what is left to learn"), (0.56, "the range ends at the optimum"), (0.68, "too small")],
}
