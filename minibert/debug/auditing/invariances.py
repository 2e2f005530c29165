"""What must not change the loss, and what must."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert.debug.auditing.finding import Verdict, check, listed, ok, problem, skipped
from minibert.debug.auditing.patient import Batch, Gradients, Patient, worst
from minibert.graph import no_grad
from minibert.nn.dropout import Dropout
from minibert.ops.loss import IGNORE_INDEX
from minibert.tensor import Tensor

CHANGED_POSITIONS = 32


@check("padding",
       "an example must not depend on how long its neighbours in the batch are; otherwise evaluation, training and use "
       "disagree with each other",
       "huggingface/transformers #2860, huggingface/transformers #3150")
def padding(patient: Patient) -> Verdict:
    """More padding gives the same loss and the same gradients."""
    longer = patient.padded()
    extra = longer["input_ids"].shape[1] - patient.batch["input_ids"].shape[1]
    if not extra:
        return skipped("the model has no position left for more padding")
    loss, gradients = patient.learn()
    more_loss, more_gradients = patient.learn(longer)
    error = abs(more_loss - loss) / (1.0 + abs(loss))
    name, gradient_error = worst(more_gradients, gradients)
    if not error <= patient.tolerance:
        return problem(f"{extra} more columns of padding change the loss from {loss:.6g} to {more_loss:.6g}",
                       before=loss, after=more_loss)
    if not gradient_error <= patient.tolerance:
        return problem(f"{extra} more columns of padding leave the loss as it is, but change the gradient of {name} by "
                       f"{gradient_error:.1%}", parameter=name, error=gradient_error)
    return ok(f"{extra} more columns of padding change neither the loss nor a gradient", loss=error,
              gradient=gradient_error)


@check("attention mask",
       "with the mask upside down, a model reads the padding and never the text; without a mask it reads both",
       "nyu-mll/jiant #465, yg211/bert_nli #3")
def attention_mask(patient: Patient) -> Verdict:
    """What stands under the mask does not matter, and each token that is not under it does."""
    batch = patient.padded()
    hidden = batch["attention_mask"] == 0
    if not hidden.any():
        return skipped("there is no padding in the batch, and no position left for any")
    ids = np.where(hidden, _other_ids(patient, batch["input_ids"]), batch["input_ids"])
    before, after = (patient.outcome({**batch, "input_ids": x}).last_hidden_state.data[~hidden]
                     for x in (batch["input_ids"], ids))
    change = float(np.abs(after - before).max() / np.abs(before).max())
    seen = not change <= patient.visible
    ignored, asked = _ignored_positions(patient, batch)
    numbers = {"padding_changes": change, "ignored": ignored, "asked": asked}
    if ignored and seen:
        return problem(f"position {ignored[0]} does not influence the prediction ({len(ignored)} of {asked} tokens do "
                       f"not), but text under the padding does: the model attends only to padding, as with a mask that "
                       f"is upside down", **numbers)
    if ignored:
        return problem(f"the tokens at position {listed(ignored)} of an example do not influence its other positions, "
                       f"though they are not padding: attention does not see them", **numbers)
    if seen:
        return problem(f"other words under the padding change the states of real tokens by {change:.1%}: the padding "
                       f"is read as text", **numbers)
    return ok(f"text under the padding is not read, and each of {asked} tokens is", **numbers)


def _other_ids(patient: Patient, ids: Any) -> Any:
    """Another id of the vocabulary in each place."""
    V = patient.vocab_size
    return (ids + patient.rng.integers(1, max(V, 2), ids.shape)) % V


def _ignored_positions(patient: Patient, batch: Batch) -> tuple[list[int], int]:
    """Where another token in the longest example changes no state of its other tokens; and how many were tried."""
    row = int(batch["attention_mask"].sum(axis=1).argmax())
    real = np.flatnonzero(batch["attention_mask"][row])
    tried = real[:CHANGED_POSITIONS] if real.size > 1 else real[:0]
    inputs = {name: np.repeat(batch[name][row:row + 1], 1 + tried.size, axis=0)
              for name in ("input_ids", "token_type_ids", "attention_mask")}
    changed = np.arange(tried.size)
    inputs["input_ids"][changed + 1, tried] = _other_ids(patient, inputs["input_ids"][changed + 1, tried])
    states = patient.outcome(inputs).last_hidden_state.data[:, real]
    difference = np.abs(states[1:] - states[0]).max(axis=-1)
    difference[changed, changed] = 0.0  # its own state is no news
    largest = float(np.abs(states).max())
    return [int(t) for t, d in zip(tried, difference, strict=True) if d.max() <= patient.visible * largest], tried.size


@check("cut of the batch",
       "a batch that is too large for the memory is processed in parts; their gradients must add up to the batch's "
       "own, however it is cut",
       "huggingface/transformers #34191, modelscope/ms-swift #10084")
def cut_of_the_batch(patient: Patient) -> Verdict:
    """Parts that know the counts of the whole batch add up to it."""
    rows = len(patient.batch["input_ids"])
    if rows < 2:
        return skipped("a batch of one example cannot be cut")
    counts = {"masked_count": int(patient.labelled.sum()), "pair_count": rows}
    loss, gradients = patient.learn()
    for size in sorted({1, max(1, rows // 3), rows - 1}):
        patient.model.zero_grad()
        total = 0.0
        for part in parts_of(patient.batch, size):
            try:
                part_loss = patient.forward(part, **counts).loss
            except TypeError as refusal:
                return skipped(f"the model does not take masked_count and pair_count: {refusal}")
            part_loss.backward()
            total += part_loss.item()
        name, error = worst(patient.take_gradients(), gradients)
        if not max(error, abs(total - loss) / (1.0 + abs(loss))) <= patient.tolerance:
            return problem(f"in parts of {size}, with masked_count and pair_count, the losses add up to {total:.6g} "
                           f"instead of {loss:.6g}, and the gradient of {name} is wrong by {error:.1%}",
                           whole=loss, parts=total, parameter=name, error=error)
    return ok(f"parts of any size add up to the loss and the gradients of {rows} examples", examples=rows)


def parts_of(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in parts of `size` examples; the last may be smaller."""
    for start in range(0, len(batch["input_ids"]), size):
        yield {name: array[start:start + size] for name, array in batch.items()}


def accumulation(gradients: Callable[[Any, Batch], object]) -> Callable[[Patient], Verdict]:
    """The check of a user's own routine, which sets the parameters' `grad` for a batch."""

    def look(patient: Patient) -> Verdict:
        batch = _unevenly_labelled(patient)
        _, whole = patient.learn(batch)
        gradients(patient.model, batch)
        found = patient.take_gradients()
        name, error = worst(found, whole)
        if error <= patient.tolerance:
            return ok("your routine gives the gradients of the whole batch", error=error)
        ratio = float(sum((found[n] * dx).sum() for n, dx in whole.items()) / sum((dx * dx).sum()
                                                                                  for dx in whole.values()))
        cause = _cause(patient, batch, found, whole, ratio)
        return problem(f"your routine's gradient of {name} differs from the whole batch's by {error:.1%}: {cause}",
                       error=error, ratio=ratio)

    return look


def _unevenly_labelled(patient: Patient) -> Batch:
    """The examples, the first of them with a single label: parts with equal numbers would hide a wrong mean."""
    labels = patient.batch["labels"].copy()
    labels[0, patient.labelled[0].cumsum() > 1] = IGNORE_INDEX
    return patient.changed(labels=labels)


def _cause(patient: Patient, batch: Batch, found: Gradients, whole: Gradients, ratio: float) -> str:
    """What the routine did, where it is one of the known mistakes."""
    if ratio and worst(found, {name: ratio * dx for name, dx in whole.items()})[1] <= patient.tolerance:
        return f"all of them are {ratio:.4g} times too large: a factor is missing or applied twice"
    for parts in _ways_to_cut(batch):
        means = [patient.learn(part)[1] for part in parts]
        total = {name: sum(part[name] for part in means) for name in whole}
        for divisor, words in ((len(means), "the mean"), (1, "the sum")):
            mean_of_means = {name: dx / divisor for name, dx in total.items()}
            if worst(found, mean_of_means)[1] <= patient.tolerance:
                return (f"it is {words} of the means of {len(means)} parts, which have different numbers of labels; "
                        f"pass masked_count and pair_count of the whole batch, and add up")
    return "the parts are not weighted by their numbers of labels, or one is left out"


def _ways_to_cut(batch: Batch) -> Iterator[list[Batch]]:
    """Parts of each size, and each number of parts that are as equal as can be."""
    rows = len(batch["input_ids"])
    for size in range(1, rows):
        yield list(parts_of(batch, size))
    for number in range(2, rows):
        yield [{name: array[at] for name, array in batch.items()} for at in np.array_split(np.arange(rows), number)]


@check("evaluation mode",
       "dropout that stays on makes every evaluation and every prediction random and too poor; dropout that never "
       "changes is none",
       "google-research/bert #857, huggingface/transformers #679")
def evaluation_mode(patient: Patient) -> Verdict:
    """Evaluation gives the same numbers each time; training with dropout does not."""
    has_dropout = patient.restore_dropout()
    losses = []
    for step in (0, 1, 1000):
        patient.seek(step)
        losses.append(patient.outcome().loss.item())
    left_on = [name for name, module in _named_modules(patient.model) if module.training or _drops(module)]
    if len(set(losses)) > 1 or left_on:
        spread = f"two passes in evaluation mode give losses {losses[0]:.6g} and {losses[-1]:.6g}"
        same = "a module does not follow eval()"
        return problem(f"{spread if len(set(losses)) > 1 else same}: dropout is still on"
                       + (f" in {listed(left_on)}" if left_on else ""), losses=losses, left_on=left_on)
    if not has_dropout:
        return ok("two passes in evaluation mode give the same loss; there is no dropout", losses=losses)
    patient.model.train()
    training = [patient.outcome().loss.item() for _ in range(2)]
    if training[0] == training[1]:
        return problem("two passes in training give the same loss: dropout does nothing, or drops the same each time",
                       losses=training)
    return ok("evaluation repeats itself, and training with dropout does not", losses=losses, training=training)


def _named_modules(module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    yield prefix or type(module).__name__, module
    for name, child in module.children():
        yield from _named_modules(child, f"{prefix}.{name}" if prefix else name)


def _drops(module: Any) -> bool:
    """Whether this is dropout that drops anything now."""
    if not isinstance(module, Dropout):
        return False
    with no_grad():
        return not bool((module(Tensor(np.ones((8, 64), np.float32))).data == 1.0).all())
