"""Are both losses the mean surprise at the labels, and at nothing else?"""

import math
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.auditing.finding import Verdict, check, listed, note, ok, problem
from minibert.debug.auditing.patient import Batch, Patient
from minibert.ops.loss import IGNORE_INDEX

FLIPS = 12
FAR_ABOVE_CHANCE = (2.0, 4.0)  # times ln V and ln 2: the loss of a model that is sure and wrong
CLASSES = ("0 (B follows A)", "1 (B is from another document)")
AT_CHANCE = 0.1  # of ln V


def surprise(logits: Array, labels: Array) -> Array:
    """-ln softmax(logits)[label]: (M, V), (M,)  ->  (M,), in float64."""
    x = logits.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x).sum(axis=-1)) - x[np.arange(len(labels)), labels]


def scores(output: Any, labels: Array) -> Array:
    """The masked-LM scores at the labelled positions (M, V), from whichever the model gives."""
    labelled = labels != IGNORE_INDEX
    logits = output.masked_lm_logits
    if logits is None or logits.shape[:-1] not in (labelled.shape, (int(labelled.sum()),)):
        logits = output.prediction_logits
    return logits.data[labelled] if logits.ndim == 3 else logits.data


@check("masked loss",
       "the masked loss is the mean over the words to be guessed; averaged over padding or unmasked words, it is small "
       "and falls, while the masked words learn too little",
       "d2l-ai/d2l-en #2582, huggingface/transformers #2759")
def masked_loss(patient: Patient) -> Verdict:
    """The loss is the mean over the labelled positions, and no other position gets a gradient from it."""
    batch = patient.padded()
    labels = batch["labels"]
    labelled = labels != IGNORE_INDEX
    output = patient.forward(batch)
    found = output.masked_lm_loss.item()
    expected = float(surprise(scores(output, labels), labels[labelled]).mean())
    numbers = {"loss": found, "expected": expected, "labels": int(labelled.sum())}
    states = output.last_hidden_state.retain_grad()
    output.masked_lm_loss.backward()
    if states.grad is not None and states.shape[:2] == labels.shape:
        reached = (states.grad != 0.0).any(axis=-1)
        stray = int((reached & ~labelled).sum())
        if stray:
            return problem(f"{stray} positions without a label, {int((reached & ~labelled & _padding(batch)).sum())} "
                           f"of them padding, get a gradient from the masked loss: their label "
                           f"({IGNORE_INDEX}) is taken for a word, or ignored under another number", stray=stray,
                           **numbers)
    if abs(found - expected) > max(patient.tolerance, 1e-5) * (1.0 + expected):
        return problem(f"the masked loss is {found:.4g}, and the mean surprise at the {labelled.sum()} labelled "
                       f"positions is {expected:.4g}: {_divisor(found, expected, batch)}", **numbers)
    return ok(f"the masked loss is the mean over the {labelled.sum()} labelled positions alone", **numbers)


def _padding(batch: Batch) -> Array:
    return batch["attention_mask"] == 0


def _divisor(found: float, expected: float, batch: Batch) -> str:
    """What the sum of surprises was divided by instead of the number of labels."""
    labels = int((batch["labels"] != IGNORE_INDEX).sum())
    candidates = {batch["labels"].size: "all positions, padding too", int((~_padding(batch)).sum()): "all real tokens",
                  len(batch["labels"]): "the number of examples", 1: "nothing, it is a sum"}
    for number, words in candidates.items():
        if number != labels and math.isclose(found * number, expected * labels, rel_tol=1e-4):
            return f"it is divided by {words} ({number}) instead of {labels}"
    return "it is not that mean, or its scores are not those of the labelled positions"


@check("masked labels",
       "a label that is computed and then not used leaves its word out of training",
       "huggingface/course #291")
def masked_labels(patient: Patient) -> Verdict:
    """Another label at a labelled position changes the loss by what the scores say."""
    labels = patient.batch["labels"]
    places = np.argwhere(labels != IGNORE_INDEX)
    before = patient.outcome()
    logits = scores(before, labels)
    truth = labels[labels != IGNORE_INDEX]
    deaf = []
    tried = np.unique(np.linspace(0, len(places) - 1, FLIPS).astype(int))
    for k in tried:
        row, t = places[k]
        other = int(np.abs(logits[k] - logits[k, truth[k]]).argmax())  # the word whose score differs most
        flipped = labels.copy()
        flipped[row, t] = other
        change = patient.outcome(patient.changed(labels=flipped)).masked_lm_loss.item() - before.masked_lm_loss.item()
        if not abs(change) > patient.visible:
            deaf.append((int(row), int(t)))
    if deaf:
        return problem(f"another label at (example, position) {listed(deaf)} does not change the masked loss",
                       deaf=deaf, tried=len(tried))
    return ok(f"each of {len(tried)} labels that were changed changes the loss", tried=len(tried))


@check("pair labels",
       "a next-sentence loss that shares the masked loss's ignore index 0 never counts the pairs labelled 0; it falls "
       "to nothing, and the accuracy stays at one half",
       "codertimo/BERT-pytorch #32, codertimo/BERT-pytorch #49")
def pair_labels(patient: Patient) -> Verdict:
    """Each class of pairs counts, alone and mixed, and so does each label."""
    pairs = patient.batch["next_sentence_label"]
    before = patient.outcome()
    logits = before.seq_relationship_logits.data
    for kind, words in enumerate(CLASSES):
        only = np.full_like(pairs, kind)
        found = patient.outcome(patient.changed(next_sentence_label=only)).next_sentence_loss.item()
        expected = float(surprise(logits, only).mean())
        if not abs(found - expected) <= max(patient.tolerance, 1e-5) * (1.0 + expected):
            share = "0" if not abs(found) > patient.visible else f"{found:.4g}"
            return problem(f"pairs labelled {words} alone have a loss of {share}, and their mean surprise is "
                           f"{expected:.4g}: this class is not counted as it should be", kind=kind, loss=found,
                           expected=expected)
    expected = float(surprise(logits, pairs).mean())
    found = before.next_sentence_loss.item()
    if not abs(found - expected) <= max(patient.tolerance, 1e-5) * (1.0 + expected):
        return problem(f"the next-sentence loss is {found:.4g}, and the mean surprise at the labels is {expected:.4g}",
                       loss=found, expected=expected)
    deaf = []
    for row in range(len(pairs)):
        flipped = pairs.copy()
        flipped[row] = 1 - flipped[row]
        change = patient.outcome(patient.changed(next_sentence_label=flipped)).next_sentence_loss.item() - found
        if not abs(change) > patient.visible:
            deaf.append(row)
    if deaf:
        return problem(f"flipping the label of pair {listed(deaf)} does not change the loss", deaf=deaf)
    return ok(f"pairs of both classes count, and flipping any of {len(pairs)} labels changes the loss", loss=found)


@check("loss level",
       "an untrained model is as good as guessing: ln V for words and ln 2 for pairs. A loss far above is a wrong "
       "label, a wrong scale or a broken start",
       "google-research/bert #649, google-research/bert #746")
def loss_level(patient: Patient) -> Verdict:
    """Both losses beside chance."""
    output = patient.outcome()
    masked, pair = output.masked_lm_loss.item(), output.next_sentence_loss.item()
    chance = math.log(patient.vocab_size)
    numbers = {"masked_loss": masked, "pair_loss": pair, "chance": chance, "pair_chance": math.log(2)}
    words = (f"masked {masked:.3g} (chance, ln V: {chance:.3g}), next sentence {pair:.3g} (chance, ln 2: "
             f"{math.log(2):.3g})")
    if not (math.isfinite(masked) and math.isfinite(pair)):
        return problem(f"a loss is not a finite number: {words}", **numbers)
    if masked > FAR_ABOVE_CHANCE[0] * chance or pair > FAR_ABOVE_CHANCE[1] * math.log(2):
        return problem(f"far worse than guessing blindly: {words}", **numbers)
    if abs(output.loss.item() - masked - pair) > 1e-4 * (1.0 + masked + pair):
        return note(f"the loss, {output.loss.item():.4g}, is not the sum of both: {words}", **numbers)
    near = abs(masked - chance) < AT_CHANCE * chance
    return ok(words + (": as expected before training" if near else ""), **numbers)
