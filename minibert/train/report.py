"""What a run has reached, in words: a table beside its floors, and answers to sentences with a gap."""

import math
from collections.abc import Iterable

from minibert.fill_mask import fill_mask
from minibert.models.pretraining import BertForPreTraining
from minibert.text.tokenizer import Tokenizer
from minibert.train.evaluation import Evaluation, Floors

SENTENCES = (  # not taken from the documentation: with Python 3.11 none of them, however filled, stands in it
    "Raise a [MASK] if the key is not found.",
    "Return the number of [MASK] in the list.",
    "Return True if the [MASK] is empty.",
    "If no [MASK] is given, return None.",
    "This method is called when the object is [MASK].",
    "Open the [MASK] for reading.",
)


def held_out_table(result: Evaluation, floors: Floors) -> str:
    """The held-out numbers, each beside what can be had without reading the context."""
    rows = [
        ("masked words", "held-out", "unigram", "chance"),
        ("  loss, nats", f"{result.masked_loss:.3f}", f"{floors.unigram:.3f}", f"{floors.chance:.3f}"),
        ("  perplexity", *(f"{math.exp(loss):.1f}" for loss in (result.masked_loss, floors.unigram, floors.chance))),
        ("  guessed exactly", f"{result.masked_accuracy:.1%}", "", ""),
        ("next sentence", "held-out", "", "chance"),
        ("  loss, nats", f"{result.pair_loss:.3f}", "", f"{floors.pair:.3f}"),
        ("  told right", f"{result.pair_accuracy:.1%}", "", "50.0%"),
        ("    B follows A", f"{result.next_accuracy:.1%}", "", ""),
        ("    B from another document", f"{result.random_accuracy:.1%}", "", ""),
    ]
    lines = [f"{name:<28}{value:>10}{unigram:>10}{chance:>10}" for name, value, unigram, chance in rows]
    note = f"over {result.masked:,} masked tokens and {result.pairs:,} sentence pairs of documents never trained on"
    return "\n".join([*lines, note])


def filled_gaps(model: BertForPreTraining, tokenizer: Tokenizer, sentences: Iterable[str] = SENTENCES) -> str:
    """The model's best answers for sentences with one [MASK] each, leaving out those too long for the model."""
    lines = []
    for sentence in sentences:
        if len(tokenizer.encode(sentence)["input_ids"]) <= model.config.max_position_embeddings:
            guesses = fill_mask(model, tokenizer, sentence, top=4)[0]
            lines += [sentence, "    " + "   ".join(f"{g.piece} {g.probability:.0%}" for g in guesses)]
    return "\n".join(lines)
