"""Every twin at the size that it meets in a model."""

import numpy as np
from ops.cases import Case, case

from ..device_cases import KEY, RNG, labels, normal
from .options import Sizes


def of_size(sizes: Sizes) -> dict[str, Case]:
    """One case for each twin, of the shapes that it meets in a model of this size, with dropout."""
    B, T, H, A, V = sizes
    F, M, D = 4 * H, B * max(1, T // 7), H // A
    x, gain = normal(B, T, H), 1 + normal(H) / 9
    mask = np.arange(T) < RNG.integers(1, T + 1, (B, 1, 1, 1))
    q, k, v = normal(3, B, A, T, D)
    return {
        "dropout": case(x, 0.1, KEY), "matmul": case(normal(M, H), normal(V, H), False, True),
        "linear": case(x, normal(H, H) / 9, normal(H)), "gelu": case(normal(B, T, F)),
        "linear_gelu": case(x, normal(F, H) / 9, normal(F)), "attention": case(q, k, v, mask, 0.1, KEY),
        "add_norm": case(normal(B, T, H), x, gain, normal(H), 1e-12, 0.1, KEY, normal(H)),
        "layer_norm": case(x, gain, normal(H)), "cross_entropy": case(normal(M, V), labels(M, classes=V)),
        "embedding": case(normal(V, H), RNG.integers(0, V, (B, T)))}
