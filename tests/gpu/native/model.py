"""A whole model: loss and gradients of the GPU beside NumPy's exact ones."""

from typing import Any, NamedTuple

import numpy as np
from models.toys import toy_batch, toy_model

from minibert import BertConfig, BertForPreTraining
from minibert.backend import to_host
from minibert.bench.gpu.ceilings import in_precision
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.ops.cuda import blas

from .accuracy import LIMIT, U, error
from .options import Options
from .page import Page

SHARE = 1e-3  # of the largest number of all gradients: against no less are errors measured
NO_GRADIENT = "self.key.bias"  # but rounding: its errors are measured against the largest number of all gradients
DEEPER = 5  # times LIMIT: a model of several layers passes errors on


class How(NamedTuple):
    """Ways to compute a step."""

    twins: bool = True
    labelled_only: bool = True
    training: bool = True
    precision: str = "float32"

    def __str__(self) -> str:
        return ", ".join(("kernels" if self.twins else "formulas",
                          "labelled only" if self.labelled_only else "all positions",
                          "dropout" if self.training else "no dropout", self.precision))


class Learnt(NamedTuple):
    """What one forward and one backward pass give."""

    loss: float
    gradients: dict[str, np.ndarray]


WAYS = (How(), How(labelled_only=False), How(training=False), How(labelled_only=False, training=False),
        How(twins=False), How(twins=False, training=False))


def model(page: Page, options: Options) -> None:
    """A toy and BERT-mini, with and without dropout, by kernels and by formulas, in every precision."""
    rows = []
    for size, exact, batch in _models(options):
        known: dict[tuple[bool, bool], list[Learnt]] = {}  # the CPU's, exact and in float32: the same for several ways
        for how in (*WAYS, *(How(precision=name) for name in blas.PRECISIONS[1:])):
            with page.checking(f"{size}, {how}"), in_precision(how.precision):
                model, same = _as_float32(exact.train(how.training)), (how.labelled_only, how.training)
                if same not in known:
                    known[same] = [_learnt(m, batch, how.labelled_only) for m in (exact, model)]
                mine = _learnt(model.to("cuda", fast=how.twins), batch, how.labelled_only)
                rows.append([size, how, *_compare(page, size, how, mine, *known[same])])
    page.table(("model", "how", "loss: GPU", "NumPy", "gradient: GPU", "NumPy", "worst"), rows)
    page.note("Errors in units of u = 2^-24, as for operations; a gradient's is measured against its largest number, "
              f"or {SHARE} of the largest of all gradients where that is more; a key bias's, which is 0, against the "
              f"largest of all. At most {DEEPER * LIMIT:.0f} u in float32; other precisions are only shown.")
    exactly = [row for row in rows if row[1].precision == "float32"]
    page.sentence = (f"loss off by {max((row[2] for row in exactly), default=0.0):.0f} u, gradients by "
                     f"{max((row[4] for row in exactly), default=0.0):.0f} u at most")


def _models(options: Options) -> Any:
    """Name, float64 model, batch."""
    yield "toy", _jittered(toy_model()), toy_batch()
    if not options.small:
        shape = Shape(vocabulary=30522, batch=8)
        config = BertConfig.preset("mini", vocab_size=shape.vocabulary, hidden_dropout_prob=0.1,
                                   attention_probs_dropout_prob=0.1)
        yield "mini", _jittered(BertForPreTraining(config, dtype=np.float64)), synthetic_batch(shape)


def _jittered(model: BertForPreTraining) -> BertForPreTraining:
    """Gains and biases that are not all 1 and 0; numbers that are float32."""
    rng = np.random.default_rng(4)
    for p in model.parameters():
        p.assign((p.data + 0.02 * rng.standard_normal(p.shape)).astype(np.float32))
    return model


def _as_float32(exact: BertForPreTraining) -> BertForPreTraining:
    model = BertForPreTraining(exact.config).train(exact.training)
    for p, other in zip(model.parameters(), exact.parameters(), strict=True):
        p.assign(other.data.astype(np.float32))
    return model


def _learnt(model: BertForPreTraining, batch: dict[str, Any], labelled_only: bool) -> Learnt:
    """From step 3."""
    model.zero_grad()
    stream = model.bert.dropout_stream
    assert stream is not None
    stream.seek(3)
    loss = model(**batch, labelled_only=labelled_only).loss
    assert loss is not None
    loss.backward()
    return Learnt(float(loss.item()), {name: to_host(p.grad) for name, p in model.named_parameters()})


def _compare(page: Page, size: str, how: How, mine: Learnt, exact: Learnt, numpys: Learnt) -> list[Any]:
    """Errors of the loss and of the gradients, on the GPU and in NumPy's float32."""
    largest = max(float(np.abs(g).max()) for g in exact.gradients.values())
    errors = [{name: error(found.gradients[name], gradient, largest * (1.0 if NO_GRADIENT in name else SHARE))
               for name, gradient in exact.gradients.items()} for found in (mine, numpys)]
    of_loss, numpys_loss = (abs(found.loss - exact.loss) / abs(exact.loss) / U for found in (mine, numpys))
    shown_only = how.precision != "float32"
    page.check(shown_only or of_loss <= LIMIT, f"{size}, {how}: the loss is off by {of_loss:,.0f} u")
    for name, off in errors[0].items():
        page.check(np.isfinite(off) and (shown_only or off <= DEEPER * LIMIT), f"{size}, {how}: the gradient of {name} "
                   f"is off by {off:,.0f} u, NumPy's by {errors[1][name]:,.0f} u")
    worst = max(errors[0], key=lambda name: errors[0][name])
    return [of_loss, numpys_loss, errors[0][worst], max(errors[1].values()), worst]
