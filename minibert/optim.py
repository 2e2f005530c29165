"""AdamW, gradient clipping, and the learning-rate schedule of BERT."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from minibert.backend import Array, array_module
from minibert.errors import InputError
from minibert.nn.module import Parameter

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
        update = partial(self._update, scale=scale)
        list(map(update, _portions(self.parameters, self.m, self.v)))
        for p in self.parameters:
            p.version += p.grad is not None

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
        w *= 1.0 - self.lr * decay                                        # (3)
        m_scale = 1.0 / (1.0 - b1**self.steps) if self.bias_correction else 1.0
        v_scale = 1.0 / (1.0 - b2**self.steps) if self.bias_correction else 1.0
        update = v * v_scale
        array_module(w).sqrt(update, out=update)
        update += self.eps
        array_module(w).divide(m, update, out=update)
        update *= self.lr * m_scale
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
    return math.sqrt(math.fsum(map(_square, [p.grad for p in parameters if p.grad is not None])))


def _square(gradient: Array) -> float:
    flat = gradient.reshape(-1)
    return float(flat @ flat)


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
