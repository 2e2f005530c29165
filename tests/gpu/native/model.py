"""A whole model: loss and gradients of the GPU beside NumPy's exact ones."""

from typing import Any

import numpy as np
from models.toys import toy_batch, toy_model

from minibert import BertConfig, BertForPreTraining
from minibert.backend import to_host
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch

from .accuracy import LIMIT, U, error
from .options import Options
from .page import Page

SHARE = 1e-3  # of the largest number of all gradients: against no less are errors measured
NO_GRADIENT = "self.key.bias"  # but rounding: its errors are measured against the largest number of all gradients
DEEPER = 5  # times LIMIT: a model of several layers passes errors on


def model(page: Page, options: Options) -> None:
    """A toy and BERT-mini, with and without dropout, by kernels and by formulas."""
    rows = []
    for size, exact, batch in _models(options):
        for labelled_only, twins in ((False, True), (True, True), (True, False)):
            for training in (True, False):
                how = ", ".join(("kernels" if twins else "formulas",
                                 "labelled only" if labelled_only else "all positions",
                                 "dropout" if training else "no dropout"))
                with page.checking(f"{size}, {how}"):
                    rows.append([size, how, *_compare(page, size, exact.train(training), batch, labelled_only, twins)])
    page.table(("model", "how", "loss: GPU", "NumPy", "gradient: GPU", "NumPy", "worst"), rows)
    page.note("Errors in units of u = 2^-24, as for operations; a gradient's is measured against its largest number, "
              f"or {SHARE} of the largest of all gradients where that is more; a key bias's, which is 0, against the "
              f"largest of all. At most {DEEPER * LIMIT:.0f} u.")
    page.sentence = (f"loss off by {max((row[2] for row in rows), default=0.0):.0f} u, gradients by "
                     f"{max((row[4] for row in rows), default=0.0):.0f} u at most")


def _models(options: Options) -> Any:
    """Name, float64 model, batch."""
    yield "toy", _jittered(toy_model()), toy_batch()
    if not options.small:
        shape = Shape.preset("mini")
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


def _learnt(model: BertForPreTraining, batch: dict[str, Any], labelled_only: bool) -> tuple[float, dict[str, Any]]:
    """The loss and the gradients of step 3."""
    model.zero_grad()
    stream = model.bert.dropout_stream
    assert stream is not None
    stream.seek(3)
    loss = model(**batch, labelled_only=labelled_only).loss
    assert loss is not None
    loss.backward()
    return float(loss.item()), {name: to_host(p.grad) for name, p in model.named_parameters()}


def _compare(page: Page, size: str, exact: BertForPreTraining, batch: dict[str, Any], labelled_only: bool, twins: bool
             ) -> list[Any]:
    """Errors of the loss and of the gradients, on the GPU and in NumPy's float32."""
    loss, gradients = _learnt(exact, batch, labelled_only)
    largest = max(float(np.abs(g).max()) for g in gradients.values())
    least = {name: largest * (1.0 if NO_GRADIENT in name else SHARE) for name in gradients}
    found = []
    for model in (_as_float32(exact).to("cuda", fast=twins), _as_float32(exact)):
        mine, others = _learnt(model, batch, labelled_only)
        off = {name: error(others[name], gradient, least[name]) for name, gradient in gradients.items()}
        found.append((abs(mine - loss) / abs(loss) / U, off))
    (of_loss, of_gradients), (numpys_loss, numpys) = found
    page.check(of_loss <= LIMIT, f"{size}: the loss is off by {of_loss:,.0f} u")
    for name, off in of_gradients.items():
        page.check(off <= DEEPER * LIMIT, f"{size}: the gradient of {name} is off by {off:,.0f} u, NumPy's by "
                                          f"{numpys[name]:,.0f} u")
    worst = max(of_gradients, key=lambda name: of_gradients[name])
    return [of_loss, numpys_loss, of_gradients[worst], max(numpys.values()), worst]
