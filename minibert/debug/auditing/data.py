"""Are the batches what BERT is trained on?  Label balance and masking statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.debug.auditing.finding import Verdict, check, note, ok, problem, skipped
from minibert.debug.auditing.patient import Batch
from minibert.ops.loss import IGNORE_INDEX
from minibert.text.tokenizer import Tokenizer

SIGMAS = 4.0  # of a binomial count: chance goes beyond it once in 16,000 times
FEW_PAIRS = 16  # 4 sigma are all of them
FATES = {"[MASK]": 0.8, "a random word": 0.1, "unchanged": 0.1}


@dataclass(frozen=True)
class Data:
    """Batches, and what is known of where they come from.

    documents: for each the ids of its sentences.  mask_rate: what share of the tokens should be labelled.
    """

    batches: Sequence[Batch]
    tokenizer: Tokenizer | None = None
    documents: Sequence[Sequence[Array]] | None = None
    mask_rate: float | None = None
    whole_word: bool = False
    watch: Callable[[str], object] = field(default=lambda name: None)


def band(share: float, count: int) -> tuple[float, float]:
    """Where the share of a binomial count lies, but for 4 sigma."""
    width = SIGMAS * (share * (1.0 - share) / max(count, 1)) ** 0.5
    return share - width, share + width


@check("label balance",
       "with one kind of pairs, or nearly, there is nothing to learn from them: a constant answer is right",
       "google-research/bert #125")
def label_balance(data: Data) -> Verdict:
    """About half of the pairs are of each class."""
    labels = np.concatenate([batch["next_sentence_label"] for batch in data.batches])
    labels = labels[labels != IGNORE_INDEX]
    count, random = len(labels), int((labels == 1).sum())
    if not count:
        return problem("no pair has a label", pairs=0)
    share = random / count
    low, high = band(0.5, count)
    numbers = {"pairs": count, "random": random, "share": share}
    words = f"{random} of {count} pairs are labelled 1 (B is from another document)"
    if count >= FEW_PAIRS and (random in (0, count) or not low <= share <= high):
        return problem(f"{words}; one half would be within {low:.0%} to {high:.0%}", **numbers)
    if random in (0, count):
        return note(f"{words}: this batch shows one class only", **numbers)
    return ok(words, **numbers)


@check("masking",
       "a label on padding or [SEP] teaches nothing about words; too few or too many masks, or the wrong words in "
       "their place, are another task than BERT's",
       "huggingface/transformers #12998, facebookresearch/fairseq #752, graykode/nlp-tutorial #86")
def masking(data: Data) -> Verdict:
    """Labels on words only, at the right rate; 80 % of them [MASK], 10 % random words, 10 % unchanged."""
    t = data.tokenizer
    if t is None:
        return skipped("pass tokenizer= to have the special tokens and the masked ones told apart")
    counts = _counts(data, t)
    labels, tokens = counts["labels"], counts["candidates"]
    if not labels:
        return problem("no position has a label", **counts)
    faults = [f"{counts[key]} {words}" for key, words in (
        ("on_padding", "labels are on padding"), ("on_special", "labels are special tokens"),
        ("unlabelled_mask", "[MASK] tokens have no label"),
        ("special_replacement", "random replacements are special tokens")) if counts[key]]
    faults += _rates(data, counts, len(t.ordinary_ids))
    if faults:
        return problem("; ".join(faults), **counts)
    shares = ", ".join(f"{name} {counts[name] / labels:.1%}" for name in FATES)
    return ok(f"{labels} of {tokens} tokens have a label ({labels / tokens:.1%}): {shares}", **counts)


def _counts(data: Data, t: Tokenizer) -> dict[str, Any]:
    """What the labels stand on and what stands in their place, over all batches."""
    total: dict[str, float] = dict.fromkeys(
        ("labels", "candidates", "targets", "on_padding", "on_special", "unlabelled_mask", "special_replacement",
         *FATES), 0)
    rate = data.mask_rate or 0.0
    for batch in data.batches:
        ids, labels, real = batch["input_ids"], batch["labels"], batch["attention_mask"] == 1
        labelled = labels != IGNORE_INDEX
        special = np.isin(np.where(labelled, labels, ids), t.special_ids)
        masked, same = labelled & (ids == t.mask_id), labelled & (ids == labels)
        other = labelled & ~masked & ~same
        a_row = (real & ~special).sum(axis=1)
        found = {
            "labels": labelled.sum(), "candidates": a_row.sum(),
            "targets": np.maximum(np.rint(rate * a_row), a_row > 0).sum(),
            "on_padding": (labelled & ~real).sum(), "on_special": (labelled & real & special).sum(),
            "unlabelled_mask": (real & ~labelled & (ids == t.mask_id)).sum(),
            "special_replacement": (other & np.isin(ids, t.special_ids)).sum(),
            "[MASK]": masked.sum(), "a random word": other.sum(), "unchanged": same.sum()}
        for name, number in found.items():
            total[name] += int(number)
    return total


def _rates(data: Data, counts: dict[str, Any], words: int) -> list[str]:
    """What lies outside its band: the share of labels, and the three fates of a labelled word."""
    faults = []
    labels, tokens = counts["labels"], counts["candidates"]
    if data.mask_rate is not None:
        exact = sorted((data.mask_rate, counts["targets"] / max(tokens, 1)))  # rounded in each row, or not
        low, high = band(exact[0], tokens)[0], band(exact[1], tokens)[1]
        low = low / 2 if data.whole_word else low  # a word that does not fit is left out
        if not low <= labels / max(tokens, 1) <= high:
            faults.append(f"{labels / max(tokens, 1):.1%} of the tokens have a label instead of {data.mask_rate:.0%} "
                          f"({low:.1%} to {high:.1%})")
    met = 0.1 / max(words, 1)  # random words that happen to be the right one
    for (name, share), shift in zip(FATES.items(), (0.0, -met, met), strict=True):
        low, high = band(share + shift, labels)
        if not low <= counts[name] / labels <= high:
            faults.append(f"{counts[name] / labels:.1%} of the labelled tokens are {name} instead of {share:.0%} "
                          f"({max(low, 0.0):.1%} to {min(high, 1.0):.1%})")
    return faults
