"""Every CUDA kernel against its formula, on the simulator: one check a kernel, at odd sizes.

A check runs its kernel once on random numbers, between guard pages, into memory full of NaN, and raises AssertionError
or KernelError when anything is wrong. test_kernels.py runs them under every schedule, and on broken kernels.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minibert
from minibert.ops.activation import gelu, gelu_backward
from minibert.ops.add_norm import add_norm, add_norm_backward
from minibert.ops.attention import attention_probs
from minibert.ops.dropout import LEVELS, DropoutKey, dropped, keep_mask
from minibert.ops.embedding import embedding_backward
from minibert.ops.loss import IGNORE_INDEX, cross_entropy, cross_entropy_backward
from minibert.ops.softmax import softmax_backward

from .cuda_on_cpu.simulator import Module, guarded

FOLDER = Path(minibert.__file__).parent / "ops" / "cuda" / "kernels"
ROWS = ((3, 70, 64), (9, 33, 128), (2, 300, 128), (5, 1, 32))  # rows, row length, threads
FLAT = (1, 31, 700)
i32, i64, u32, u64, f32 = np.int32, np.int64, np.uint32, np.uint64, np.float32


class Run(NamedTuple):
    """A module under test, and where the guard pages touch the arrays."""

    module: Module
    front: bool
    rng: np.random.Generator

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(f32)

    def coin(self, *shape: int) -> np.ndarray:
        return self.rng.random(shape) < 0.6

    def __call__(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any) -> list[np.ndarray]:
        """Run a kernel; a shape among the arguments is an output of float32, returned."""
        guards = [guarded(np.full(x, np.nan, f32), self.front) if isinstance(x, tuple) else
                  guarded(x, self.front) if isinstance(x, np.ndarray) and x.ndim else x for x in args]
        self.module[name](grid, block, tuple(guards))
        return [guard for guard, x in zip(guards, args, strict=True) if isinstance(x, tuple)]


def near(found: np.ndarray, expected: Any, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found, np.asarray(expected).reshape(found.shape), rtol=tolerance, atol=tolerance)


def double(*arrays: Any) -> list[Any]:
    return [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == f32 else x for x in arrays]


def threshold_that_is_drawn(shape: tuple[int, ...], key: DropoutKey) -> int:
    """The least above 0.3 of all that a number of the mask equals: `>` and `>=` differ there, as they hardly do."""
    def keep(threshold: int) -> np.ndarray:
        return keep_mask(shape, threshold / LEVELS, key)
    return next(t for t in range(LEVELS * 3 // 10, LEVELS) if (keep(t) != keep(t + 1)).any())


def check_keep_mask(run: Run) -> None:
    """With places beyond 32 bits, and blocks of the stream too."""
    for start, n in ((0, 5), (5, 43), (32, 16), (16, 100), (2**36 - 27, 83)):
        key = DropoutKey(seed=2**63 + 11, step=7, site=3, start=start)
        threshold = threshold_that_is_drawn((n,), key)
        keep = guarded(np.zeros(n, bool), run.front)
        step = guarded(np.array([7], u64), run.front)
        run.module["keep_mask"]((2,), (32,), (keep, i64(n), u64(key.seed), step, u64(3), i64(start),
                                              u32(threshold)))
        np.testing.assert_array_equal(keep, keep_mask((n,), threshold / LEVELS, key))


def check_keep_rows(run: Run) -> None:
    rows, step = np.array([3, 0, 23, 3]), np.array([5], u64)
    for start in (19, 2**36 - 100):
        key = DropoutKey(9, 5, 2, start)
        threshold = threshold_that_is_drawn((21,), key)  # in row 0
        whole = keep_mask((6, 4, 21), threshold / LEVELS, key)
        keep = guarded(np.zeros((4, 21), bool), run.front)
        run.module["keep_rows"]((2,), (64,), (keep, guarded(rows * 21, run.front), i64(4), i32(21), u64(9), step,
                                              u64(2), i64(start), u32(threshold)))
        np.testing.assert_array_equal(keep, whole.reshape(24, 21)[rows])


def check_drop(run: Run) -> None:
    for n in FLAT:
        x, keep = run.normal(n), run.coin(n)
        near(*run("drop", (2,), (64,), x, keep, (n,), i64(n), f32(1.7)), dropped(x, keep, 1.7))


def check_gelu(run: Run) -> None:
    for n in FLAT:
        x = run.normal(n) * 3
        y, (_, cdf) = gelu(*double(x))
        for found, expected in zip(run("gelu", (2,), (64,), x, (n,), (n,), i64(n)), (y, cdf), strict=True):
            near(found, expected)


def check_gelu_backward(run: Run) -> None:
    for n in FLAT:
        dy, x = run.normal(n), run.normal(n) * 2
        _, saved = gelu(x.astype(float))
        near(*run("gelu_backward", (2,), (64,), dy, x, saved[1].astype(f32), (n,), i64(n)), gelu_backward(dy,
                                                                                                          *saved)[0])


def check_add_bias(run: Run) -> None:
    for rows, d, threads in ROWS:
        x, bias = run.normal(rows, d), run.normal(d)
        near(*run("add_bias", (2,), (threads,), x, bias, x.shape, i64(x.size), i32(d)), x + bias)


def check_bias_gelu(run: Run) -> None:
    for rows, d, threads in ROWS:
        x, bias = run.normal(rows, d), run.normal(d)
        y, (h, cdf) = gelu((x + bias).astype(float))
        outputs = run("bias_gelu", (2,), (threads,), x, bias, x.shape, x.shape, x.shape, i64(x.size), i32(d))
        for found, expected in zip(outputs, (h, y, cdf), strict=True):
            near(found, expected)
        product, gain = guarded(x, run.front), guarded(bias, run.front)
        y_here, cdf_here = (guarded(np.full(x.shape, np.nan, f32), run.front) for _ in range(2))
        run.module["bias_gelu"]((2,), (threads,), (product, gain, product, y_here, cdf_here, i64(x.size), i32(d)))
        for found, expected in zip((product, y_here, cdf_here), (h, y, cdf), strict=True):
            near(found, expected)


def check_masked_softmax(run: Run) -> None:
    """With rows of scores, allowed and forbidden, that only subtracting the right maximum keeps from 0 / 0 and inf."""
    B, A, T, scale, survivors = 2, 3, 4, 0.7, 1.6
    for S, threads in ((5, 32), (70, 64), (300, 128)):
        scores, keep = run.normal(B, A, T, S) * 3, run.coin(B, A, T, S)
        scores[0, 0, 1] = -np.abs(scores[0, 0, 1]) - 300
        scores[0, 0, 2, -1] = 300
        scores[0, 0, 3, 0] = 300  # which most of the masks forbid
        for mask in (None, run.coin(B, 1, 1, S), run.coin(1, 1, T, S), run.coin(B, A, T, S), run.coin(B, 1, 1, 1)):
            if mask is not None:
                mask[0, 0, 0, : S // 2] = False
            for kept in (None, keep):
                strides = [0] * 4 if mask is None else [0 if n == 1 else s for n, s in zip(mask.shape, mask.strides,
                                                                                           strict=True)]
                found = run("masked_softmax", (B * A * T,), (threads,), scores, mask, kept, scores.shape,
                            None if kept is None else scores.shape, i32(A), i32(T), i32(S), f32(scale), f32(survivors),
                            *map(i64, strides[:3]), i32(strides[3]))
                p = attention_probs_of(scores.astype(float) * scale, mask)
                near(found[0], p)
                if kept is not None:
                    near(found[1], dropped(p, kept, survivors))


def attention_probs_of(scores: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """attention_probs for given scores: of T queries that are unit vectors, and keys whose columns are the scores."""
    T = scores.shape[2]
    q = np.broadcast_to(np.eye(T), (*scores.shape[:2], T, T))
    return attention_probs(q, scores.swapaxes(-1, -2) * math.sqrt(T), mask)


def check_masked_softmax_backward(run: Run) -> None:
    for rows, S, threads in ROWS:
        p = attention_probs_of(run.normal(1, 1, rows, S).astype(float), None)[0, 0]
        dy, keep = run.normal(rows, S), run.coin(rows, S)
        for kept in (None, keep):
            found = run("masked_softmax_backward", (rows,), (threads,), dy, p.astype(f32), kept, (rows, S), i32(S),
                        f32(1.3))
            near(*found, softmax_backward(dropped(dy, kept, 1.3), p)[0])


def check_add_norm(run: Run) -> None:
    for rows, d, threads in ROWS[:3]:
        x, h, gamma, beta, bias = (run.normal(*shape) for shape in ((rows, d), (rows, d), (d,), (d,), (d,)))
        x[0] += 1000
        h[-1] *= 1e-3
        x[-1] *= 1e-3
        keep = run.coin(rows, d)
        for left, shift, kept in ((h, None, None), (h, None, keep), (h, bias, None), (h, bias, keep),
                                  (None, None, None)):
            s = np.zeros(x.shape) if left is None else left.astype(float) + (0.0 if shift is None else shift)
            y, (xhat, rstd, *_) = add_norm(*double(dropped(s, kept, 1.4), x, gamma, beta), 1e-5)
            found = run("add_norm", (rows,), (threads,), left, shift, x, kept, gamma, beta, x.shape, x.shape, (rows,),
                        i32(d), f32(1.4), f32(1e-5))
            for mine, expected in zip(found, (y, xhat, rstd), strict=True):
                near(mine, expected, 2e-4)


def check_add_norm_backward(run: Run) -> None:
    for rows, d, threads in ROWS:
        dy, gamma, keep = run.normal(rows, d), run.normal(d), run.coin(rows, d)
        _, (xhat, rstd, *_) = add_norm(*double(run.normal(rows, d), run.normal(rows, d), gamma, gamma), 0.1)
        for kept in (None, keep):
            found = run("add_norm_backward", (rows,), (threads,), dy, xhat.astype(f32), rstd.astype(f32).reshape(-1),
                        gamma,
                        kept, dy.shape, None if kept is None else dy.shape, i32(d), f32(1.4))
            dh, ds, *_ = add_norm_backward(*double(dy, xhat, rstd, gamma), kept, 1.4, has_bias=False)
            near(found[0], ds)
            if kept is not None:
                near(found[1], dh)


def check_column_sums(run: Run) -> None:
    for rows, d, chunk in ((3, 70, 8), (9, 33, 9), (20, 5, 7), (41, 40, 20), (1, 32, 256)):
        dy, xhat, chunks = run.normal(rows, d), run.normal(rows, d), -(-rows // chunk)
        numbers, begins = (i64(rows), i32(d), i32(chunk)), range(0, rows, chunk)
        grid, block = (-(-d // 32), chunks), (32, 8)
        dgamma, dbeta = run("column_sums", grid, block, dy, xhat, (chunks, d), (chunks, d), *numbers)
        near(dgamma, np.add.reduceat(dy * xhat, begins))
        near(dbeta, np.add.reduceat(dy, begins))
        near(*run("column_sums", grid, block, dy, None, None, (chunks, d), *numbers), np.add.reduceat(dy, begins))


def labels_for(run: Run, rows: int, classes: int) -> np.ndarray:
    labels = run.rng.integers(0, classes, rows)
    labels[::3] = IGNORE_INDEX
    labels[-1] = classes - 1
    return labels


def check_cross_entropy(run: Run) -> None:
    for rows, d, threads in ROWS:
        logits, labels = run.normal(rows, d) * 4, labels_for(run, rows, d)
        logits[0] = -np.abs(logits[0]) - 200
        logits[-1, -1] = 200
        p, surprise = run("cross_entropy", (rows,), (threads,), logits, labels, logits.shape, (rows,), i32(d),
                          i64(IGNORE_INDEX))
        expected = np.exp(logits - logits.max(axis=1, keepdims=True).astype(float))
        near(p, expected / expected.sum(axis=1, keepdims=True))
        for r in range(rows):
            near(surprise[r:r + 1], cross_entropy(logits[r:r + 1].astype(float), labels[r:r + 1])[0])


def check_mean_surprise(run: Run) -> None:
    for n in FLAT:
        surprise = np.abs(run.normal(n))
        near(*run("mean_surprise", (1,), (64,), surprise, np.array([13.0], f32), (1,), i64(n)), surprise.sum() / 13)
        near(*run("mean_surprise", (1,), (64,), surprise, np.array([0.0], f32), (1,), i64(n)), surprise.sum())


def check_cross_entropy_backward(run: Run) -> None:
    for rows, d, threads in ROWS:
        logits, labels = run.normal(rows, d), labels_for(run, rows, d)
        dloss = run.normal(1)
        _, saved = cross_entropy(logits.astype(float), labels, 17)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = cross_entropy_backward(dloss[0].astype(float), *saved)[0]
        for count, scale in ((17.0, 1), (0.0, 17)):
            found = run("cross_entropy_backward", (rows,), (threads,), dloss, p, labels, np.array([count], f32),
                        logits.shape, i32(d), i64(IGNORE_INDEX))
            near(*found, expected * scale)


def check_first_of_id(run: Run) -> None:
    for n, threads in ((1, 32), (40, 32), (300, 64)):
        ids = run.rng.integers(0, 7, n)
        first = guarded(np.zeros(n, bool), run.front)
        run.module["first_of_id"]((n,), (threads,), (guarded(ids, run.front), first))
        np.testing.assert_array_equal(first, [id not in ids[:place] for place, id in enumerate(ids)])


def check_embedding_backward(run: Run) -> None:
    for n, d in ((1, 5), (40, 8), (7, 33), (300, 70)):
        ids, dy = run.rng.integers(0, 5, n), run.normal(n, d)
        ids[0] = 4
        first = np.array([id not in ids[:place] for place, id in enumerate(ids)])
        table = guarded(run.normal(6, d), run.front)
        expected = table + embedding_backward(dy.astype(float), ids, table.shape)[0]
        inputs = [guarded(x, run.front) for x in (dy, ids, first)]
        run.module["embedding_backward"]((n, -(-d // 32)), (32, 8), (*inputs, table, i64(n), i32(d)))
        near(table, expected)


def check_square_sums(run: Run) -> None:
    for n in FLAT:
        g = run.normal(n)
        found = run("square_sums", (3,), (64,), g, (3,), i64(n))[0]
        near(found.sum(keepdims=True), (g.astype(float) ** 2).sum())


def check_norm_and_clip(run: Run) -> None:
    """`halted` stays as it is, or is set; it never goes back to 0."""
    nan, inf = math.nan, math.inf
    for blocks, largest, longest, limit, losses, before, after in (
            (3, 2, 1.5, inf, (2.0, 0.7), 0, 0), (70, 2, 0.2, inf, (2.0,), 0, 0), (70, 2, 1000.0, 1000.0, (), 0, 0),
            (70, 2, 1000.0, 2.0, (2.0, 0.7), 0, 1), (3, 2, 1.5, inf, (2.0, nan), 0, 1),
            (3, 2, 1.5, inf, (inf, 1), 0, 1), (3, 2, 1.5, inf, (2.0, 0.7), 1, 1), (3, nan, 1.5, inf, (2.0, 0.7), 0, 1),
            (3, inf, 1.5, inf, (2.0,), 0, 1)):
        parts = np.abs(run.normal(blocks)) + f32(1)
        parts[-1] = largest
        inputs = [guarded(np.array(x, f32).reshape(-1), run.front) for x in (parts, limit, losses)]
        norm, clip, halted = (guarded(np.array([x], kind), run.front)
                              for x, kind in ((nan, f32), (nan, f32), (before, i32)))
        run.module["norm_and_clip"]((1,), (64,), (inputs[0], i32(blocks), f32(longest), *inputs[1:], i32(len(losses)),
                                                  norm, clip, halted))
        length = np.sqrt(parts.sum())
        near(norm, length)
        assert halted[0] == after
        near(clip, -1.0 if after else min(1.0, longest / length))


def check_adamw(run: Run) -> None:
    """With rates far from what training uses, so that no term hides behind a small factor."""
    lr, c1, c2, clip, b1, b2, eps, decay = 0.3, 0.7, 0.6, 0.8, 0.6, 0.8, 0.2, 0.5
    for n, decayed in ((1, 0), (31, 7), (700, 700)):
        w, g, m, v = run.normal(n), run.normal(n), run.normal(n), np.abs(run.normal(n))
        inside = [guarded(x, run.front) for x in (w, g, m, v)]
        rates = guarded(np.array([lr, c1, c2, clip], f32), run.front)
        run.module["adamw"]((2,), (64,), (*inside, rates, i64(n), i64(decayed), f32(b1), f32(b2), f32(eps), f32(decay)))
        m = b1 * m + (1 - b1) * g * clip
        v = b2 * v + (1 - b2) * (g * clip) ** 2
        w = w * np.where(np.arange(n) < decayed, 1 - lr * decay, 1.0)
        near(inside[0], w - lr * m / c1 / (np.sqrt(v / c2) + eps))
        near(inside[2], m)
        near(inside[3], v)
    untouched = [guarded(run.normal(31), run.front) for _ in range(4)]
    before = [x.copy() for x in untouched]
    halted = guarded(np.array([lr, c1, c2, -1.0], f32), run.front)
    run.module["adamw"]((2,), (64,), (*untouched, halted, i64(31), i64(7), f32(b1), f32(b2), f32(eps), f32(decay)))
    np.testing.assert_array_equal(untouched, before)


CHECKS: dict[str, Callable[[Run], None]] = {name.removeprefix("check_"): check for name, check in
                                            list(globals().items()) if name.startswith("check_")}
