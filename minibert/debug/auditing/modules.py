"""Parts of the model on their own: normalisation, activations, attention, decay."""

import math
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.auditing.finding import Verdict, check, listed, note, ok, problem, skipped
from minibert.debug.auditing.patient import Patient, is_a
from minibert.debug.blaming.evidence import forward_values
from minibert.debug.execution import Execution
from minibert.graph import Node, no_grad
from minibert.ops.attention import attention_probs
from minibert.tensor import Tensor

ACTIVATIONS = ("gelu", "linear_gelu", "gelu_tanh", "relu")
DEAD = 1e-3  # of what is usual among the units of a layer
HALF = 0.5
SATURATED = 0.01  # of the entropy of looking at everything alike
CONSTANT = 1e-7  # spread of [CLS] over the examples, beside its size


@check("layer norm",
       "trained weights belong to one normalisation: with the unbiased deviation or another epsilon every layer is a "
       "little off, and a checkpoint gives other numbers than where it came from",
       "codertimo/BERT-pytorch #30, harvardnlp/annotated-transformer #122")
def layer_norm(patient: Patient) -> Verdict:
    """Every LayerNorm gives (x - mean) / sqrt(biased variance + eps), as a module and where the model uses it."""
    norms = {module.weight.name or type(module).__name__: module for module in patient.model.modules()
             if is_a(module, "LayerNorm") and hasattr(module, "weight") and hasattr(module, "bias")}
    tolerance = max(patient.tolerance, 1e-6)
    for name, module in norms.items():
        H, eps = module.weight.size, float(getattr(module, "eps", 1e-12))
        for scale in (1.0, math.sqrt(eps)):  # where the variance is about eps, its place under the root shows
            x = (scale * patient.rng.standard_normal((5, H))).astype(module.weight.dtype)
            with no_grad():
                y = module(Tensor(x)).data
            ratio, error = _against_formula(y, x, module.weight.data, module.bias.data, eps)
            if error > tolerance:
                return problem(f"{name.removesuffix('.weight')}: {_cause(ratio, H, scale)}", ratio=ratio, error=error)
    for node, x, gamma, beta, eps, y in _used(patient):
        ratio, error = _against_formula(y, x, gamma, beta, eps)
        if error > tolerance:
            return problem(f"{node.op.name} in {node.module}: {_cause(ratio, x.shape[-1], 1.0)}", ratio=ratio,
                           error=error)
    if not norms:
        return skipped("the model has no module called LayerNorm with weight and bias")
    return ok(f"{len(norms)} layer normalisations use the biased variance, with epsilon under the root",
              norms=len(norms))


def _against_formula(y: Array, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[float, float]:
    """By what factor y, without its bias, exceeds the formula; and how far y is from it, beside its size."""
    x = x.astype(np.float64)
    expected = gamma * (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    found = y.astype(np.float64) - beta
    size = max(float(np.abs(expected).max()), float(np.abs(beta).max())) or 1.0
    square = float((expected * expected).sum()) or 1.0
    return float((found * expected).sum()) / square, float(np.abs(found - expected).max()) / size


def _cause(ratio: float, H: int, scale: float) -> str:
    if scale == 1.0 and math.isclose(ratio, math.sqrt(1.0 - 1.0 / H), rel_tol=1e-4):
        return (f"the output is {ratio:.4f} = sqrt(1 - 1/{H}) of what it should be: the deviation is the unbiased one, "
                f"divided by {H - 1} instead of {H}")
    if scale != 1.0:
        return (f"where the variance is as small as epsilon, the output is {ratio:.3f} of what it should be: epsilon "
                f"is not added to the variance, under the root")
    return f"the output is not (x - mean) / sqrt(variance + eps); along it, it is {ratio:.4f} of that"


def _used(patient: Patient) -> list[tuple[Node, Array, Array, Array, float, Array]]:
    """The normalisations in the graph: node, input, gain, bias, eps, output."""
    run = Execution(patient.forward().loss)
    found = []
    for node in run.nodes:
        if node.op.name in ("layer_norm", "add_norm"):
            given = forward_values(run, node)
            x = given["x"] + given.get("h", 0.0)
            if given.get("bias") is not None:
                x = x + given["bias"]
            found.append((node, x, given["gamma"], given["beta"], given["eps"], run.values[node]))
    return found


@check("dead units",
       "a unit that is 0 for every token learns nothing any more; attention that looks at one place only, or a [CLS] "
       "that is the same for every text, cannot tell texts apart",
       "huggingface/transformers #2626")
def dead_units(patient: Patient) -> Verdict:
    """Activations that are not all 0, attention that is not all saturated, a [CLS] that depends on the text."""
    output = patient.forward()
    run = Execution(output.loss)
    real = patient.batch["attention_mask"] == 1
    dead = {node.module: _dead_share(run.values[node][real]) for node in run.nodes
            if node.op.name in ACTIVATIONS and node.shape[:2] == real.shape}
    entropy = {node.module: _entropy(run.arguments(node), real) for node in run.nodes
               if node.op.name == "attention"}
    cls = output.last_hidden_state.data[:, 0]
    spread = float(cls.std(axis=0).max() / max(float(np.abs(cls).max()), 1e-300))
    numbers: dict[str, Any] = {"dead": dead, "entropy": entropy, "cls_spread": spread}
    if len(cls) > 1 and len(np.unique(patient.batch["input_ids"], axis=0)) > 1 and spread < CONSTANT:
        return problem("[CLS] is the same for every example of the batch, whatever its text", **numbers)
    mostly = [name for name, share in dead.items() if share > HALF]
    if mostly:
        return problem(f"more than half of the units of {listed(mostly)} are 0 for every token of the batch", **numbers)
    saturated = [name for name, value in entropy.items() if value < SATURATED]
    if saturated:
        return problem(f"every head of {listed(saturated)} looks at a single position, for every token of the batch",
                       **numbers)
    words = f"[CLS] varies over the examples by {100 * spread:.2g} % of its size"
    some = [name for name, share in dead.items() if share > 0.0]
    if some:
        return note(f"some units of {listed(some)} are 0 for every token of the batch; {words}", **numbers)
    return ok(f"no unit is 0 for every token and no layer's attention is stuck to single positions; {words}", **numbers)


def _dead_share(y: Array) -> float:
    """The share of units (columns) that are as good as 0 in every row."""
    largest = np.abs(y).max(axis=0)
    return float((largest <= DEAD * np.median(largest[largest > 0.0])).mean()) if largest.any() else 1.0


def _entropy(arguments: list[Any], real: Array) -> float:
    """The largest entropy of a row of attention, over heads and real tokens, beside that of equal weights."""
    q, k, _, mask = [*arguments, None][:4]
    p = attention_probs(q, k, mask)                                       # (B, A, T, S)
    visible = np.broadcast_to(True if mask is None else mask, p.shape).sum(axis=-1)
    h = -(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=-1)
    asked = (visible > 1) & (real[:, None, :] if real.shape[1] == p.shape[2] else True)
    return float((h[asked] / np.log(visible[asked])).max()) if asked.any() else 1.0


@check("decay groups",
       "weight decay pulls a parameter to 0; biases and normalisation gains have no reason to be there, and a matrix "
       "that is left out of it is not regularised",
       "huggingface/transformers #10239, CyberZHG/keras-bert #60")
def decay_groups(patient: Patient) -> Verdict:
    """Matrices decay; biases and normalisation gains do not."""
    groups: dict[bool, list[str]] = {True: [], False: []}
    for name, p in patient.model.named_parameters():
        groups[p.decay].append(name)
    wrong = [name for name in groups[True] if name.endswith("bias") or "LayerNorm" in name]
    spared = [name for name, p in patient.model.named_parameters() if p.ndim >= 2 and not p.decay]
    numbers = {"decayed": groups[True], "not_decayed": groups[False]}
    if wrong:
        return problem(f"weight decay pulls {listed(wrong)} to 0", **numbers)
    if spared:
        return problem(f"no weight decay for the matrices {listed(spared)}", **numbers)
    kinds = sorted({name.rsplit(".", 2)[-2] if "LayerNorm" in name else name.rsplit(".", 1)[-1]
                    for name in groups[False]})
    return note(f"{len(groups[True])} matrices decay; {len(groups[False])} vectors ({listed(kinds)}) do not",
                **numbers)
