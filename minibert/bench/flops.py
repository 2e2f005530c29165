"""How many floating-point operations a training step needs: the numerator of every GFLOP/s."""

from minibert.bench.shape import Shape


def step_flops(shape: Shape, masked: int, whole: bool = False) -> int:
    """Operations in the matrix products of one training step, a multiplication and an addition counted as two.

        (1)  keys and values   6 B T L 2 H^2             at every position
        (2)  the rest          6 P (2 H^2 + 2 H F)       query, output, and both feed-forward maps
        (3)  attention         12 P T H                  q k^T and probs v
        (4)  head              6 M (H V + H^2)           transform and vocabulary, at the M masked positions

    P counts what is computed in all layers: every position, B T, but in the last one, where only the M masked ones
    and each sequence's first are read.  whole: count every position there, too, as other engines compute it.

    A product of (n, k) by (k, m) takes 2 n k m operations, and backward needs two such products for each forward
    one, dx = dy W and dW = dy^T x: hence the 6.  Attention has two products of 2 T H operations for
    each position of each layer: hence the 12 of (3).
    Not counted, because small: the pooler and the next-sentence classifier (6 B (H^2 + 2 H)), and everything that is
    not a matrix product, such as embeddings, softmax, GELU, norms, dropout, clipping and the optimiser.
    """
    L, H, F, V, T = shape.layers, shape.hidden, shape.width, shape.vocabulary, shape.length
    P = shape.tokens * (L - 1) + (shape.tokens if whole else masked + shape.batch)
    keys_and_values = 6 * shape.tokens * L * 2 * H * H              # (1)
    rest = 6 * P * (2 * H * H + 2 * H * F)                          # (2)
    attention = 12 * P * T * H                                      # (3)
    head = 6 * masked * (H * V + H * H)                             # (4)
    return keys_and_values + rest + attention + head
