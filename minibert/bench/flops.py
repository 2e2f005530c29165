"""How many floating-point operations a training step needs: the numerator of every GFLOP/s."""

from minibert.bench.shape import Shape


def step_flops(shape: Shape, masked: int) -> int:
    """Operations in the matrix products of one training step, a multiplication and an addition counted as two.

        (1)  encoder    6 B T L (4 H^2 + 2 H F)      query, key, value, output, and both feed-forward maps
        (2)  attention  12 B T L T H                 q k^T and probs v
        (3)  head       6 M (H V + H^2)              transform and vocabulary, at the M masked positions

    A product of (n, k) by (k, m) takes 2 n k m operations, and backward needs two such products for each forward
    one, dx = dy W and dW = dy^T x: hence the 6 of (1) and (3).  Attention has two products of 2 T H operations for
    each token of each layer: hence the 12 of (2).
    Not counted, because small: the pooler and the next-sentence classifier (6 B (H^2 + 2 H)), and everything that is
    not a matrix product, such as embeddings, softmax, GELU, norms, dropout, clipping and the optimiser.
    """
    L, H, F, V, T = shape.layers, shape.hidden, shape.width, shape.vocabulary, shape.length
    encoder = 6 * shape.tokens * L * (4 * H * H + 2 * H * F)        # (1)
    attention = 12 * shape.tokens * L * T * H                       # (2)
    head = 6 * masked * (H * V + H * H)                             # (3)
    return encoder + attention + head
