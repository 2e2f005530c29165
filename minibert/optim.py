"""AdamW, gradient clipping, and the learning-rate schedule of BERT."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minibert.backend import Array, array_module, device_of, to_device
from minibert.errors import InputError
from minibert.nn.module import Parameter
from minibert.ops.registry import kernels_take

BLOCK = 1 << 15  # numbers updated at a time, so that weight, gradient and both moments stay in the cache
PORTION = 1 << 18  # numbers that a thread updates before it looks for more

Slices = tuple[Any, ...]
Map = Callable[..., Iterable[Any]]  # like Python's own


class AdamW:
    """Adam with decoupled weight decay.

        (1)  m = b1 m + (1 - b1) g
        (2)  v = b2 v + (1 - b2) g^2
        (3)  w = w - lr decay w                                         not for biases and normalisation gains
        (4)  w = w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Kingma and Ba 2015, algorithm 1 (arXiv:1412.6980); Loshchilov and Hutter 2019, algorithm 2 (arXiv:1711.05101).
    bias_correction=False leaves out both divisions in (4), as Google's code for BERT does.
    A parameter that has no gradient is left as it is.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-6, weight_decay: float = 0.01, bias_correction: bool = True) -> None:
        self.parameters = list(parameters)
        _check_settings(self.parameters, lr, betas, eps, weight_decay)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.weight_decay, self.bias_correction = weight_decay, bias_correction
        self.steps = 0  # t in the formulas
        self.m = [array_module(p.data).zeros_like(p.data) for p in self.parameters]
        self.v = [array_module(p.data).zeros_like(p.data) for p in self.parameters]

    def step(self, scale: float = 1.0, map: Map = map) -> None:
        """Update every parameter that has a gradient, which is multiplied by `scale` first (see clip_scale).

        map: what applies a function to many items; that of a pool of threads shares out the work.
        """
        self.steps += 1
        if kernels_take([p.data for p in self.parameters]):
            self._update_by_kernels(scale)
        else:
            list(map(partial(self._update, scale=scale), _portions(self.parameters, self.m, self.v)))
        for p in self.parameters:
            p.version += p.grad is not None

    def _update_by_kernels(self, scale: float) -> None:
        """On a GPU, where whole parameters are updated at once."""
        from minibert.ops.cuda.optimizer import adamw

        rates = to_device(np.array([*self.rates(), scale], np.float32), "cuda")
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            if p.grad is not None:
                gradient = array_module(p.grad).ascontiguousarray(p.grad)
                adamw(p.data, gradient, m, v, rates, p.size * p.decay, self.betas, self.eps, self.weight_decay)

    def rates(self) -> tuple[float, float, float]:
        """What changes from step to step in (3) and (4): lr, 1 - b1^t and 1 - b2^t (1 without bias correction)."""
        b1, b2 = self.betas
        return (self.lr, 1.0 - b1**self.steps, 1.0 - b2**self.steps) if self.bias_correction else (self.lr, 1.0, 1.0)

    def _update(self, portion: list[Slices], scale: float) -> None:
        """Update some of the numbers, block by block."""
        for decay, *arrays in portion:
            for start in range(0, arrays[0].size, BLOCK):
                w, g, m, v = (x[start:start + BLOCK] for x in arrays)
                self._update_block(w, g, m, v, scale, self.weight_decay * decay)

    def _update_block(self, w: Array, g: Array, m: Array, v: Array, scale: float, decay: float) -> None:
        """Formulas (1) to (4) in place, on one block."""
        b1, b2 = self.betas
        g = g * scale
        m *= b1
        m += g * (1.0 - b1)                                               # (1)
        g *= g
        g *= 1.0 - b2
        v *= b2
        v += g                                                            # (2)
        lr, m_correction, v_correction = self.rates()
        w *= 1.0 - lr * decay                                             # (3)
        update = v * (1.0 / v_correction)
        array_module(w).sqrt(update, out=update)
        update += self.eps
        array_module(w).divide(m, update, out=update)
        update *= lr * (1.0 / m_correction)
        w -= update                                                       # (4)

    def zero_grad(self) -> None:
        """Set every parameter's `grad` to None."""
        for p in self.parameters:
            p.grad = None


def _portions(parameters: list[Parameter], m: list[Array], v: list[Array]) -> Iterator[list[Slices]]:
    """Every parameter that has a gradient, cut and bundled into portions of about PORTION numbers.

    A slice is (whether it decays, weights, gradient, first moment, second moment), each array flat.
    """
    portion: list[Slices] = []
    left = PORTION
    for p, first, second in zip(parameters, m, v, strict=True):
        if p.grad is None:
            continue
        flat = [x.reshape(-1) for x in (p.data, p.grad, first, second)]
        for start in range(0, p.size, PORTION):
            portion.append((p.decay, *(x[start:start + PORTION] for x in flat)))
            left -= portion[-1][1].size
            if left <= 0:
                yield portion
                portion, left = [], PORTION
    if portion:
        yield portion


def _check_settings(parameters: list[Parameter], lr: float, betas: tuple[float, float], eps: float,
                    weight_decay: float) -> None:
    if not parameters:
        raise InputError("AdamW got no parameters: pass model.parameters()")
    if not all(isinstance(p, Parameter) for p in parameters):
        raise InputError("AdamW takes parameters, without their names: pass model.parameters()")
    for p in parameters:
        if not p.data.flags.c_contiguous:
            raise InputError(f"{p.name or 'a parameter'} {p.shape} is not stored row by row, and AdamW updates "
                             f"in place: make the Parameter from numpy.ascontiguousarray(...)")
    checks: dict[str, tuple[Any, bool, str]] = {
        "lr": (lr, 0.0 <= lr < math.inf, "at least 0 and finite"),
        "betas": (betas, len(betas) == 2 and all(0.0 <= b < 1.0 for b in betas), "two, each at least 0 and below 1"),
        "eps": (eps, 0.0 < eps < math.inf, "above 0 and finite"),
        "weight_decay": (weight_decay, 0.0 <= weight_decay < math.inf, "at least 0 and finite")}
    for name, (value, holds, what) in checks.items():
        if not holds:
            raise InputError(f"AdamW's {name} must be {what}, not {value}")


def gradient_norm(parameters: Iterable[Parameter], map: Map = map) -> float:
    """Length of all gradients seen as one vector: sqrt of the sum of every squared number.  map: see AdamW.step."""
    squares = list(map(_square, [p.grad for p in parameters if p.grad is not None]))
    if squares and device_of(squares[0]) != "cpu":
        squares = [sum(squares[1:], squares[0])]  # there, so that the host waits once and not for each
    return math.sqrt(math.fsum(map(float, squares)))


def _square(gradient: Array) -> Any:
    flat = gradient.reshape(-1)
    return flat @ flat


def clip_scale(norm: float, max_norm: float) -> float:
    """What to multiply the gradients by, so that their common length is at most `max_norm`; 1 if it is already."""
    return min(1.0, max_norm / norm) if norm > 0.0 else 1.0


def warmup_linear(step: int, peak: float, warmup: int, total: int) -> float:
    """Learning rate of step 1 .. total: a line up from 0 to `peak` at `warmup`, then a line down to 0 after `total`.

    Devlin et al. 2019, appendix A.2.
    """
    if step <= warmup:
        return peak * step / max(warmup, 1)
    return peak * max(total + 1 - step, 0) / (total + 1 - warmup)
