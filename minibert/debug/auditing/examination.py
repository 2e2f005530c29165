"""All checks of a model and a batch, in one call."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minibert.backend import device_of
from minibert.debug.auditing.data import Data, label_balance, masking
from minibert.debug.auditing.finding import Check, Finding, Verdict, skipped
from minibert.debug.auditing.gradients import gradient_flow, reachability, repeated_tokens, tied_weights
from minibert.debug.auditing.invariances import accumulation, attention_mask, cut_of_the_batch, evaluation_mode, padding
from minibert.debug.auditing.learning import overfitting
from minibert.debug.auditing.losses import loss_level, masked_labels, masked_loss, pair_labels
from minibert.debug.auditing.modules import dead_units, decay_groups, layer_norm
from minibert.debug.auditing.pairs import Documents, as_ids, negative_pairs
from minibert.debug.auditing.patient import Batch, Patient, to_float64, untouched, whole_batch
from minibert.debug.auditing.report import Report
from minibert.errors import InputError
from minibert.text.tokenizer import Tokenizer

Watch = Callable[[str], object]
Accumulate = Callable[[Any, Batch], object]
MODEL_CHECKS: tuple[Check[Patient], ...] = (
    reachability, tied_weights, repeated_tokens, gradient_flow, masked_loss, masked_labels, pair_labels, padding,
    attention_mask, cut_of_the_batch, evaluation_mode, layer_norm, dead_units, decay_groups, loss_level)
DATA_CHECKS: tuple[Check[Data], ...] = (label_balance, masking, negative_pairs)


def doctor(model: Any, batch: Mapping[str, Any], *, gradients: Accumulate | None = None,
           documents: Documents | None = None, tokenizer: Tokenizer | None = None, mask_rate: float | None = None,
           watch: Watch = lambda name: None) -> Report:
    """Examine a model, and the batch it is to learn from, for the known faults of BERTs.

    model: anything that is called like BertForPreTraining and returns what it returns; it is left as it was, with its
    weights, gradients, modes and place in dropout.  batch: a pretraining batch, of which up to seven examples are used.
    gradients: your own routine (model, batch) that sets every parameter's `grad`, such as one that accumulates over
    parts; it is compared with the gradients of the whole batch.
    documents, tokenizer: what the batch was made from, to have the masking and the pairs checked, too.
    mask_rate: the share of tokens that should be labelled.  watch: called with the name of each check before it runs.
    Raises InputError when the batch is no pretraining batch or the model is on a GPU, and what the model raises when
    it cannot run the batch.
    """
    if documents is not None and tokenizer is None:
        raise InputError("documents can only be searched together with their tokenizer: pass tokenizer=, too")
    if any(device_of(p.data) != "cpu" for p in model.parameters()):
        raise InputError("doctor examines a model on the cpu, in float64: give it copy.deepcopy(model).to('cpu'), or "
                         "move the model there first")
    whole = whole_batch(batch)
    findings = examine_model(model, whole, gradients, watch)
    ids = as_ids(documents, tokenizer) if documents is not None and tokenizer is not None else None
    findings += run_checks(DATA_CHECKS, Data([whole], tokenizer, ids, mask_rate), watch)
    return Report(f"doctor: {type(model).__name__}, {len(whole['input_ids'])} examples", tuple(findings))


def examine_model(model: Any, batch: Batch, gradients: Accumulate | None, watch: Watch) -> list[Finding]:
    """The findings about a model, in float64 where it can compute in it."""
    checks = [*MODEL_CHECKS]
    checks.insert(checks.index(cut_of_the_batch) + 1, Check(
        "accumulation", "a mean of the parts' means is not the mean of the batch, unless all parts have equally many "
        "labels", cut_of_the_batch.seen_in, accumulation(gradients) if gradients else _no_routine))
    with untouched(model):
        exact = runs_in_float64(model, batch)
        with untouched(model):
            if exact:
                to_float64(model)
            findings = _examine(checks, Patient(model, batch, exact), watch)
        return findings + _examine([overfitting], Patient(model, batch), watch)


def runs_in_float64(model: Any, batch: Batch) -> bool:
    """Whether the model can be made to compute in float64, as one with float32 constants of its own cannot."""
    with untouched(model):
        Patient(model, batch).outcome()  # what is wrong in any dtype is raised here
        to_float64(model)
        try:
            return bool(Patient(model, batch).forward().loss.dtype == "float64")
        except Exception:
            return False


def run_checks(checks: Iterable[Check[Any]], subject: Any, watch: Watch) -> list[Finding]:
    """One finding for each check."""
    findings = []
    for each in checks:
        watch(each.name)
        findings.append(each(subject))
    return findings


def _examine(checks: Iterable[Check[Patient]], patient: Patient, watch: Watch) -> list[Finding]:
    findings = []
    for each in checks:
        patient.reset()
        findings += run_checks([each], patient, watch)
    return findings


def _no_routine(patient: Patient) -> Verdict:
    return skipped("pass gradients=, your routine (model, batch) that accumulates gradients, to have it compared")
