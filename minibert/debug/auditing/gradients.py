"""Does every parameter get the gradient that it should have?"""

import re
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.auditing.finding import Verdict, check, listed, note, ok, problem, skipped
from minibert.debug.auditing.patient import Gradients, Patient, is_a
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.execution import Execution
from minibert.tensor import Tensor

STEP = 1e-5  # of a parameter's root mean square; in float64 the slope is then right to about 1e-9
LARGE_STEP = 0.1
SHARE = 1e-4  # a slope and a gradient that differ by more of the whole gradient are not the same
UNEVEN = 1e3  # ratio of the layers' gradients from which something vanishes or explodes
LAYER = re.compile(r"(.*\blayer\.\d+)\.")


@check("reachability",
       "a parameter that its gradient does not reach is never trained, or trained in a wrong direction; the loss still "
       "falls, because the rest of the model learns",
       "paiml/aprender #2203, ooples/AiDotNet #1210")
def reachability(patient: Patient) -> Verdict:
    """Every parameter gets a gradient, and it is the slope of the loss."""
    _, gradients = patient.learn()
    parameters = dict(patient.model.named_parameters())
    silent = [name for name, dx in gradients.items() if not dx.any()]
    cut = [name for name in silent if _moves_the_loss(patient, parameters[name])]
    unused = [name for name in silent if name not in cut and not _may_be_0(patient, name)]
    wrong = _wrong_slopes(patient, gradients, cut) if patient.exact else {}
    says = []
    if cut:
        says.append(f"no gradient reaches {listed(cut)}, but moving {'it' if len(cut) == 1 else 'them'} changes the "
                    f"loss: the graph is cut on the way, where a tensor was rebuilt from another one's data")
    if wrong:
        slope, gradient = next(iter(wrong.values()))
        says.append(f"the gradient of {listed(list(wrong))} is not the slope of the loss (along a random direction, "
                    f"slope {slope:.3g} and gradient {gradient:.3g}): a part of it is lost on the way, or a backward "
                    f"is wrong")
    if unused:
        says.append(f"{listed(unused)}: no gradient, and the loss does not depend on it: it is used by nothing")
    if says:
        return problem("; ".join(says), cut=cut, unused=unused, wrong=list(wrong))
    checked = "and it is the slope of the loss" if patient.exact else "(slopes need a model that runs in float64)"
    return ok(f"each of {len(parameters)} parameters gets a gradient, {checked}", parameters=len(parameters))


def _may_be_0(patient: Patient, name: str) -> bool:
    """Whether a parameter belongs to scores of attention that its softmax ignores.

    It ignores what is added to all scores of a query, as the bias of the keys adds; and where there is a single place
    to look at, it ignores every score.
    """
    alone = int(patient.batch["attention_mask"].sum(axis=1).max()) <= 1
    return name.endswith("key.bias") or (alone and (".query." in name or ".key." in name))


def _moves_the_loss(patient: Patient, parameter: Any) -> bool:
    """Whether the loss depends on a parameter at all."""
    direction = random_like(np.random.default_rng(1), parameter.shape).astype(parameter.dtype) * _size(parameter.data)
    there, here = (_loss_along(patient, {parameter: direction}, t) for t in (LARGE_STEP, 0.0))
    return abs(there - here) > patient.visible * (1.0 + abs(here))


def _wrong_slopes(patient: Patient, gradients: Gradients, cut: list[str]) -> dict[str, tuple[float, float]]:
    """Parameters whose gradient is not the slope of the loss: (slope, gradient) along a random direction.

    All are moved together first; only when that shows a fault, each alone.
    """
    parameters = dict(patient.model.named_parameters())
    rng = np.random.default_rng(2)
    directions = {name: random_like(rng, p.shape) * _size(p.data) for name, p in parameters.items() if name not in cut}
    terms = {name: gradients[name] * v for name, v in directions.items()}
    scale = float(np.sqrt(sum((term * term).sum() for term in terms.values())))
    slopes = {name: float(term.sum()) for name, term in terms.items()}
    if abs(_slope(patient, {parameters[n]: v for n, v in directions.items()}) - sum(slopes.values())) < SHARE * scale:
        return {}
    found = {name: _slope(patient, {parameters[name]: v}) for name, v in directions.items()}
    return {name: (found[name], slopes[name]) for name in found if abs(found[name] - slopes[name]) > SHARE * scale}


def _slope(patient: Patient, directions: dict[Any, Array]) -> float:
    """d/dt of the loss at t = 0, as each parameter moves along its direction."""
    return (_loss_along(patient, directions, STEP) - _loss_along(patient, directions, -STEP)) / (2.0 * STEP)


def _loss_along(patient: Patient, directions: dict[Any, Array], t: float) -> float:
    before = {p: p.data for p in directions}
    try:
        for p, v in directions.items():
            p.data = before[p] + t * v
        return float(patient.outcome().loss.item())
    finally:
        for p, data in before.items():
            p.data = data


def _size(x: Array) -> Any:
    """The root mean square of an array, or 1 where that is 0, in its dtype."""
    return x.dtype.type(float(np.sqrt((x * x).mean())) or 1.0)


@check("repeated tokens",
       "a token that occurs several times must get the sum of its gradients; assigning instead of adding keeps only "
       "the last, so frequent words learn too little",
       "HIPS/autograd #136, pytorch/pytorch #1528")
def repeated_tokens(patient: Patient) -> Verdict:
    """The gradient of a table of embeddings, looked up with repetitions, is a sum over all places."""
    tables = {module.weight.name or type(module).__name__: module for module in patient.model.modules()
              if is_a(module, "Embedding") and getattr(getattr(module, "weight", None), "ndim", 0) == 2}
    if not tables:
        return skipped("the model has no module called Embedding with a table `weight`")
    for name, module in tables.items():
        rows = len(module.weight.data)
        ids = patient.rng.integers(0, min(rows, 5), (3, 7))
        found, dy, elsewhere = _table_gradient(patient, module, ids)
        expected = elsewhere.copy()
        np.add.at(expected, ids, dy)
        error = float(np.abs(found - expected).max() / np.abs(expected).max())
        if error > patient.tolerance:
            last = elsewhere.copy()
            last[ids] += dy  # with repeated ids, NumPy keeps the last
            lost = bool(np.abs(found - last).max() <= patient.tolerance * np.abs(expected).max())
            what = "only its last occurrence counts" if lost else "it is not the sum over all places of the token"
            return problem(f"{name}: the gradient of a token that occurs several times is wrong by {error:.0%} of the "
                           f"largest number: {what}", error=error)
    return ok(f"a repeated token gets the sum of its gradients, in {len(tables)} tables", tables=len(tables))


def _table_gradient(patient: Patient, module: Any, ids: Array) -> tuple[Array, Array, Array]:
    """A table's gradient when it is looked up and also used elsewhere, as a tied one is; and both shares' dy."""
    patient.model.zero_grad()
    y = module(ids)
    dy, elsewhere = (random_like(patient.rng, shape).astype(y.dtype) for shape in (y.shape, module.weight.shape))
    ((y * Tensor(dy)).sum() + (module.weight * Tensor(elsewhere)).sum()).backward()
    found = module.weight.grad
    patient.model.zero_grad()
    return np.zeros_like(elsewhere) if found is None else found, dy, elsewhere


@check("tied weights",
       "a table that is input and output at once learns from both uses; if one share of its gradient is missing, or "
       "the two tables are copies, the model is another one than its configuration says",
       "TrenTorch/TrenTorch #182")
def tied_weights(patient: Patient) -> Verdict:
    """The decoder's weight is the table of word embeddings, and gets a gradient from both of its uses."""
    tied = getattr(patient.model.config, "tie_word_embeddings", False)
    try:
        table = patient.model.bert.embeddings.word_embeddings.weight
        decoder = patient.model.cls.predictions.decoder.weight
    except AttributeError:
        return skipped("the model does not keep its tables where BertForPreTraining does")
    if not tied:
        return note("the configuration unties the output layer from the word embeddings")
    if decoder is not table:
        return problem("the configuration ties the output layer to the word embeddings, but decoder.weight is another "
                       "parameter than word_embeddings.weight: assign the parameter itself, not its numbers")
    execution = Execution(patient.forward().loss)
    uses, terms = execution.uses[table], execution.backward().terms
    shares = [(node.op.name, float(np.linalg.norm(terms[node, i]))) for node, i in uses if (node, i) in terms]
    living = [f"{name} (norm {norm:.2g})" for name, norm in shares if norm > 0.0]
    if len(living) < 2:
        return problem(f"the tied table gets a gradient from {living[0] if living else 'none of its uses'} alone: its "
                       f"lookup or the output layer is cut off", shares=shares)
    return ok(f"decoder.weight is word_embeddings.weight, with a gradient from {' and '.join(living)}", shares=shares)


@check("gradient flow",
       "layers whose gradients are a thousand times smaller than others' hardly train, and those with far larger ones "
       "break the run", "facebookresearch/XLM #159")
def gradient_flow(patient: Patient) -> Verdict:
    """The encoder's layers get gradients of comparable length."""
    squares: dict[str, float] = {}
    for name, dx in patient.learn()[1].items():
        match = LAYER.match(name)
        if match:
            squares[match[1]] = squares.get(match[1], 0.0) + float((dx.astype(np.float64) ** 2).sum())
    norms = {layer: square**0.5 for layer, square in squares.items()}
    if len(norms) < 2:
        return skipped("there are not two layers to compare", norms=norms)
    values = list(norms.values())
    broken = [layer for layer, norm in norms.items() if not np.isfinite(norm)]
    if broken:
        return problem(f"the gradient of {listed(broken)} holds NaN or infinity", norms=norms)
    span = f"{values[0]:.2g} in the first layer, {values[-1]:.2g} in the last"
    if max(values) > UNEVEN * min(values):
        kind = "vanishes" if values[0] < values[-1] else "explodes"
        return problem(f"the gradient {kind} on its way down: its norm is {span}", norms=norms)
    return ok(f"the gradient's norm is {span}", norms=norms)
