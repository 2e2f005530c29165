"""What the machine's matrix products reach: the ceiling of every engine that is made of them."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import threadpoolctl

PRODUCTS = ((1024, 1024, 1024), (4096, 256, 1024))  # (n, k, m): a cube, and a feed-forward map of many tokens
REPEATS = 2  # of each product in one measurement


class GemmPeak:
    """The best rate of float32 matrix products that was seen on `threads` threads.

    They share one product between them, as BLAS does by itself, or each computes its own, as minibert's lanes do:
    which is faster depends on BLAS and on the number of cores, and the ceiling is the faster one.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.gflops = 0.0
        rng = np.random.default_rng(0)
        self.operands = [(rng.random((n, k), np.float32), rng.random((k, m), np.float32),
                          [np.empty((n, m), np.float32) for _ in range(threads)]) for n, k, m in PRODUCTS]

    def measure(self) -> None:
        """Look once more; a few hundred milliseconds of a usual machine."""
        with ThreadPoolExecutor(self.threads) as pool:
            for blas_threads, copies in ((self.threads, 1), (1, self.threads)):
                with threadpoolctl.threadpool_limits(blas_threads, user_api="blas"):
                    for a, b, results in self.operands * REPEATS:
                        start = time.perf_counter()
                        list(pool.map(np.matmul, [a] * copies, [b] * copies, results))
                        seconds = time.perf_counter() - start
                        self.gflops = max(self.gflops, copies * 2e-9 * a.size * b.shape[1] / seconds)
