"""Cross-entropy over the labelled positions."""

import math

import numpy as np

from minibert.backend import Array, array_module, beside
from minibert.errors import InputError
from minibert.ops.registry import Op, register

IGNORE_INDEX = -100  # the label of a position that has none; the one place where this number is chosen


def cross_entropy(logits: Array, labels: Array, count: int | None = None) -> tuple[Array, tuple]:
    """Mean surprise at the right class, over the positions that have a label.

        (1)  p    = softmax(logits)
        (2)  loss = -sum(ln p[label]) / count

    logits (..., V), labels (...) integers in 0 .. V-1 or IGNORE_INDEX  ->  loss ()
    count: by default the number of labelled positions here; when a batch is processed in parts, pass the
    number in the whole batch, and the parts add up to the same loss and gradient however it was cut.
    Without any labelled position the loss is 0, and so is its gradient.
    Raises InputError when a label is neither a class nor IGNORE_INDEX, when count is below the number of labels
    here, or when the shapes do not belong together.
    Devlin et al. 2019, section 3.1 (arXiv:1810.04805).
    """
    if labels.shape != logits.shape[:-1]:
        raise InputError(f"logits {logits.shape} need labels {logits.shape[:-1]}, one a row, not {labels.shape}")
    labels = labels.reshape(-1)
    rows = array_module(labels).flatnonzero(labels != IGNORE_INDEX)       # (M,)
    classes = labels[rows]
    check_labels(classes, logits.shape[-1])
    if count is not None and count < rows.size:
        raise InputError(f"count is {count}, but there are {rows.size} labelled positions here alone: pass the number "
                         f"in the whole batch")
    xp, rows, classes = array_module(logits), beside(rows, logits), beside(classes, logits)
    scale = 1.0 / max(rows.size if count is None else count, 1)
    p = logits.reshape(-1, logits.shape[-1])[rows]                        # (M, V), a copy
    p -= p.max(axis=-1, keepdims=True)
    right = p[xp.arange(rows.size), classes]
    xp.exp(p, out=p)
    total = p.sum(axis=-1, keepdims=True)
    p /= total                                                            # (1)
    loss = (xp.log(total[:, 0]) - right).sum() * scale                    # (2)
    return xp.asarray(loss, dtype=logits.dtype), (p, rows, classes, scale, logits.shape)


def cross_entropy_backward(dloss: Array, p: Array, rows: Array, classes: Array, scale: float,
                           logits_shape: tuple) -> tuple[Array]:
    """dloss ()  ->  dlogits (..., V).

        (2'-1')  dlogits = dloss (p - onehot(label)) / count, and 0 where there is no label
    """
    xp = array_module(p)
    dchosen = p * (dloss * scale)
    dchosen[xp.arange(rows.size), classes] -= dloss * scale               # (2') (1')
    if rows.size == math.prod(logits_shape[:-1]):
        return (dchosen.reshape(logits_shape),)
    dlogits = xp.zeros(logits_shape, dtype=p.dtype)
    dlogits.reshape(-1, logits_shape[-1])[rows] = dchosen
    return (dlogits,)


def check_labels(classes: Array, number_of_classes: int) -> None:
    """Raise InputError when a label is no class."""
    wrong = (classes < 0) | (classes >= number_of_classes)
    if wrong.any():
        raise InputError(f"label {int(classes[wrong][0])} is not a class: labels must be 0 .. "
                         f"{number_of_classes - 1}, or {IGNORE_INDEX} for a position without a label")


def cross_entropy_reference(logits: Array, labels: Array, count: int | None = None) -> Array:
    surprises = []
    for index in np.ndindex(*labels.shape):
        if labels[index] != IGNORE_INDEX:
            total = math.fsum(math.exp(v) for v in logits[index])
            surprises.append(-math.log(math.exp(logits[*index, labels[index]]) / total))
    return np.array(math.fsum(surprises) / (count or max(len(surprises), 1)))


register(Op(cross_entropy, cross_entropy_backward, ("logits",),
            r"\ell = -\frac1M \sum_m \ln p_{m y_m},\; p = \mathrm{softmax}(x)",
            r"dx_{mv} = \frac{d\ell}{M}\,(p_{mv} - [v = y_m])", "logits (..., V), labels (...) -> loss ()",
            cross_entropy_reference, "Devlin et al. 2019, section 3.1 (arXiv:1810.04805)",
            notation={"logits": "x", "labels": "y", "loss": r"\ell", "count": "M",
                      "M": r"\text{by default the number of labelled positions}", "classes": "y_m",
                      "rows": r"\text{the labelled positions, numbered by m}", "scale": r"\frac1M"},
            kinks="without any labelled position: loss 0 and gradient 0"))
