"""Solutions to the exercises of notebook 12."""

# %% setup
import numpy as np

from minibert import lab

# %% 12.1
# Begin at 2 * 5 + 3, and go on by all 4 * 5 threads.
print(lab.answer("12.1", [13, 33, 53]))


# %% 12.2
# Thread t reads every threads-th number, from the t-th on: neighbours in memory are read by neighbours.
@lab.answer("12.2")
def my_partial_sums(x, threads):
    return np.array([x[t::threads].sum() for t in range(threads)])


# %% 12.3
# The exclusive or pairs lanes that are as far apart as the bit is worth.
@lab.answer("12.3")
def my_tree(v):
    steps, distance = [], len(v) // 2
    while distance:
        v = v + v[np.arange(len(v)) ^ distance]
        steps.append(v)
        distance //= 2
    return np.array(steps)


# %% 12.4
# n / 6 operations a byte reach 67 / 3.35 = 20 at n = 120.
print(lab.answer("12.4", 120))

# %% 12.5
# Ten journeys a number against four: what is written to be read again at once need not be written.
print(lab.answer("12.5", 10 / 4))


# %% 12.6
# (2') the slope of GELU at h, then (1') the three gradients of an affine map.
@lab.answer("12.6")
def my_linear_gelu_backward(dy, x, weight, h, cdf):
    dh = dy * (cdf + h * np.exp(-0.5 * h * h) / np.sqrt(2 * np.pi))
    rows = dh.reshape(-1, dh.shape[-1])
    return dh @ weight, rows.T @ x.reshape(-1, x.shape[-1]), rows.sum(axis=0)


# %% 12.7
# A mantissa of so many bits before the point, rounded there, and its exponent put back.
@lab.answer("12.7")
def my_round(x, bits):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 2.0**bits), exponent - bits)


# %% 12.8
# The host needs 600 * 5 us = 3 ms, in which the GPU is idle for more than half of the time.
print(lab.answer("12.8", 3.0))
