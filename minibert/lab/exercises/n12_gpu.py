"""Exercises of notebook 12: the GPU."""

import math

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value


def partial_sums(x: Array, threads: int) -> Array:
    """The right answer to 12.2."""
    return np.array([x[thread::threads].sum() for thread in range(threads)])


def in_chunks(x: Array, threads: int) -> Array:
    """12.2 with neighbours for each thread."""
    return np.array([part.sum() for part in np.array_split(x, threads)])


def tree(v: Array) -> Array:
    """The right answer to 12.3."""
    return _tree(v, halving=True, partner=lambda lane, distance: lane ^ distance)


def _tree(v: Array, halving: bool, partner: object) -> Array:
    n, found = len(v), []
    distances = [2**i for i in range(n.bit_length() - 1)]
    for distance in reversed(distances) if halving else distances:
        v = v + v[partner(np.arange(n), distance) % n]  # type: ignore[operator]
        found.append(v)
    return np.array(found)


def nearest(x: Array, bits: int) -> Array:
    """The right answer to 12.7."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa * 2.0**bits), exponent - bits))


def _cut(x: Array, bits: int) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.trunc(mantissa * 2.0**bits), exponent - bits))


def _away(x: Array, bits: int) -> Array:
    mantissa, exponent = np.frexp(x)
    scaled = mantissa * 2.0**bits
    return np.asarray(np.ldexp(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), exponent - bits))


def _decimals(x: Array, bits: int) -> Array:
    return np.asarray(np.rint(x * 2.0**bits) / 2.0**bits)


def _to_be_rounded(rng: np.random.Generator) -> list[tuple[Array, int]]:
    """Numbers of all sizes and signs, some of them exactly between two of those that are left."""
    ties = [1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, -5.0 - 5 * 2.0**-6]
    return [(np.array([*rng.lognormal(0, 4, 9), *ties]) * rng.choice([-1.0, 1.0], 12), 8),
            (rng.standard_normal((3, 5)), 11), (rng.standard_normal((2, 2, 3)) * 1e3, 4)]


def _pdf(h: Array) -> Array:
    return np.asarray(np.exp(-0.5 * h * h) / math.sqrt(2.0 * math.pi))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _through(dh: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """The backward of the affine map."""
    return dh @ weight, _rows(dh).T @ _rows(x), _rows(dh).sum(axis=0)


LINEAR_GELU = {name: {f"(dy cdf){rest}": (lambda dy, x, weight, h, cdf, i=i: _through(dy * cdf, x, weight)[i]),
                      f"(dy h pdf){rest}": (lambda dy, x, weight, h, cdf, i=i:
                                            _through(dy * h * _pdf(h), x, weight)[i])}
               for i, (name, rest) in enumerate((("dx", " W"), ("dweight", "^T x"), ("dbias", ", summed")))}

EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="12.1", title="Whose numbers are these?", right=[13, 33, 53],
        mistakes={"that is what a thread does that has a block of neighbours; in FOR_EACH it goes on by all threads":
                      [13, 14, 15],
                  "that is one block's stride; the next number is as far away as there are threads in all":
                      [13, 18, 23],
                  "block and thread are exchanged: i begins at block * threads a block + thread": [17, 37, 57]},
        hints=("A thread begins at block * (threads a block) + thread.",
               "2 * 5 + 3 = 13. Then it goes on by as many as there are threads in all the blocks.",
               "Four blocks of five threads are 20, so 13, 33, and 53.")),
    Function(
        number="12.2", title="What each thread of a row kernel adds up", right=partial_sums, outputs=("partial",),
        cases=lambda rng: [(rng.standard_normal(11), 4), (rng.standard_normal(7), 3), (rng.standard_normal(3), 5)],
        mistakes={"each thread took neighbours; it strides: thread t has x[t], x[t + threads], ...": in_chunks,
                  "that is the whole sum in every thread; the threads have not met yet":
                      lambda x, threads: np.full(threads, x.sum()),
                  "each thread read a single number, and a row may be longer":
                      lambda x, threads: np.array([x[t] if t < len(x) else 0.0 for t in range(threads)])},
        hints=("Look at add_norm_block: mine[t] is what thread t reads.",
               "Thread t reads x[t], x[t + threads], x[t + 2 * threads] and so on: x[t::threads].",
               "np.array([x[t::threads].sum() for t in range(threads)]).")),
    Function(
        number="12.3", title="A tree of sums", right=tree, outputs=("steps",),
        cases=lambda rng: [(rng.standard_normal(8),), (rng.standard_normal(16),), (rng.standard_normal(4),)],
        mistakes={"right sums, but the partners come nearer in the wrong order: the farthest first, n / 2 lanes away":
                      lambda v: _tree(v, halving=False, partner=lambda lane, distance: lane ^ distance),
                  "what each lane began with is not a step": lambda v: np.vstack([v, tree(v)])[:-1],
                  "the last step alone is asked for by nobody: return what the lanes hold after each":
                      lambda v: tree(v)[-1]},
        hints=("A lane's partner at distance d is lane ^ d (exclusive or), which swaps two halves.",
               "v = v + v[np.arange(len(v)) ^ d], for d = n / 2, n / 4, ..., 1.",
               "Collect v after each of these steps, and return np.array of the list.")),
    Value(
        number="12.4", title="Where the roof bends", right=120.0,
        mistakes={"that is the ridge, in operations a byte; which n has it?": 20.0,
                  "a float32 has four bytes: three matrices are 12 n^2 bytes": 30.0,
                  "a product of n by n matrices takes 2 n^3 operations: a product and a sum each": 240.0},
        hints=("A product of two n x n matrices takes 2 n^3 operations, and moves three matrices of 4 n^2 bytes.",
               "So it has n / 6 operations a byte.",
               "n / 6 = 67 / 3.35 = 20.")),
    Value(
        number="12.5", title="Journeys to memory", right=2.5, tolerance=0.01,
        mistakes={"that is the difference in numbers; the question is how many times": 6.0,
                  "the fused one writes two arrays, too: y and xhat": 10 / 3,
                  "count both arrays that a sum reads": 9 / 4,
                  "that is the other way round": 0.4},
        hints=("Count for each number of h. The bias: read one, write one. Dropout: read one, write one.",
               "The residual sum reads two and writes one; the normalisation reads one and writes two (y and xhat).",
               "Separate: 2 + 2 + 3 + 3 = 10. Fused: read h and x, write y and xhat.")),
    Backward(
        number="12.6", title="Write this backward: an affine map with its GELU", op="linear_gelu",
        cases=lambda rng: [(rng.standard_normal((*lead, inputs)), rng.standard_normal((outputs, inputs)),
                            rng.standard_normal(outputs))
                           for lead, inputs, outputs in (((5,), 3, 4), ((2, 3), 4, 6), ((1,), 2, 3))],
        terms=LINEAR_GELU,
        mistakes={"the slope of GELU was left out: dh = dy (cdf + h pdf(h)) comes before everything else":
                      lambda dy, x, weight, h, cdf: _through(dy, x, weight),
                  "the slope of GELU was taken at y = h cdf, not at h": lambda dy, x, weight, h, cdf: _through(
                      dy * (cdf + h * cdf * _pdf(h * cdf)), x, weight)},
        hints=("Two steps forward, so two backward: (2') through the GELU, then (1') through the affine map.",
               "dh = dy * (cdf + h * pdf), with pdf = exp(-h^2 / 2) / sqrt(2 pi).",
               "dx = dh @ weight. For the others flatten the leading axes: rows = dh.reshape(-1, dh.shape[-1]).",
               "dweight = rows.T @ x.reshape(-1, x.shape[-1]) and dbias = rows.sum(axis=0).")),
    Function(
        number="12.7", title="Round to few bits", right=nearest, outputs=("y",), cases=_to_be_rounded,
        tolerance=1e-12,
        mistakes={"the bits were cut off, and not rounded: that is off by up to twice as much": _cut,
                  "a tie goes to the even number, not always away from 0: np.rint does that": _away,
                  "that is one bit too many": lambda x, bits: nearest(x, bits + 1),
                  "that is one bit too few": lambda x, bits: nearest(x, bits - 1),
                  "bits after the point of x itself were kept; they count from its first one": _decimals},
        hints=("Write x as mantissa * 2^exponent, with the mantissa from 0.5 to 1: np.frexp(x) does it.",
               "mantissa * 2**bits has its last bit that is kept at 1: np.rint rounds there, ties to even.",
               "np.ldexp(np.rint(mantissa * 2**bits), exponent - bits) puts it back.")),
    Value(
        number="12.8", title="Who waits for whom", right=3.0, tolerance=0.01,
        mistakes={"they work at the same time: the step takes as long as the slower of the two": 4.2,
                  "that is the GPU's part; it is done long before the host has asked for everything": 1.2,
                  "600 launches of 5 us are 3000 us": 3000.0},
        hints=("The host asks for one launch after the other, and the GPU works on what it was asked for meanwhile.",
               "The host needs 600 times 5 us. The GPU needs 1.2 ms.",
               "The larger of 3 ms and 1.2 ms.")))
