"""A replayed step in a terminal: what went in, what came out, and every operation."""

import textwrap
from collections.abc import Iterator

from minibert.backend import Array
from minibert.debug.replaying.timeline import UPDATE, Timeline, end_of, short_place
from minibert.debug.replaying.training_step import TrainingStep
from minibert.debug.show import paint, table
from minibert.ops.loss import IGNORE_INDEX
from minibert.summary import number, shape_text
from minibert.text.tokenizer import Tokenizer

EXAMPLES, UPDATES = 3, 6  # rows of a summary
NAME = 56  # characters of a parameter's name


def summary(step: TrainingStep, timeline: Timeline, columns: int = 80, colour: bool = False) -> str:
    """The step in a few lines: batch, losses, gradient, learning rate, largest updates, and whether it is the run's."""
    style = "green" if timeline.verified.startswith("verified") else "red"
    return "\n\n".join([
        paint(f"step {step.number:,} of {step.loaded.settings.steps:,}", "bold", colour) + f", from {step.origin}",
        batch_text(step, columns), numbers_text(timeline, step.loaded.settings.clip), updates_text(timeline),
        paint(textwrap.fill(timeline.verified, columns), style, colour)])


def batch_text(step: TrainingStep, columns: int) -> str:
    """The first examples; what is to be predicted stands behind each masked token, with its position."""
    batch, parts = step.batch, step.parts()
    rows, length = batch["input_ids"].shape
    labelled = int((batch["labels"] != IGNORE_INDEX).sum())
    lines = [f"batch: {rows} pairs of up to {length} tokens, {labelled} to predict, in {len(parts)} micro-batches",
             "  what is to be predicted is written: seen(position truth)"]
    for example in range(min(EXAMPLES, rows)):
        follows = "B follows A" if batch["next_sentence_label"][example] == 0 else "B is random"
        words = _words(step.loaded.tokenizer, *(batch[name][example] for name in ("input_ids", "labels",
                                                                                  "attention_mask")))
        lines.append(textwrap.fill(f"{example} ({follows}) " + " ".join(words), columns, initial_indent="  ",
                                   subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))
    if rows > EXAMPLES:
        lines.append(f"  and {rows - EXAMPLES} more")
    return "\n".join(lines)


def _words(tokenizer: Tokenizer, ids: Array, labels: Array, mask: Array) -> Iterator[str]:
    for position in mask.nonzero()[0]:
        seen, label = tokenizer.token(int(ids[position])), int(labels[position])
        yield seen if label == IGNORE_INDEX else f"{seen}({position}\N{NO-BREAK SPACE}{tokenizer.token(label)})"


def numbers_text(timeline: Timeline, clip: float) -> str:
    """Losses, gradient and learning rate."""
    sums = timeline.sums
    rows = [("loss", f"{sums.masked_loss + sums.pair_loss:.6f} = masked words {sums.masked_loss:.6f} + next sentence "
                     f"{sums.pair_loss:.6f}"),
            ("right", f"{sums.masked_right} of {sums.masked} masked words, {int(sums.pairs_right.sum())} of "
                      f"{int(sums.pairs.sum())} pairs"),
            ("gradient", f"norm {timeline.norm:.6f}, " + (
                f"times {timeline.scale:.6f} to clip it to {number(clip)}" if timeline.scale < 1.0 else
                f"not clipped: at most {number(clip)}"))]
    if timeline.after:
        rows.append(("lr", f"{timeline.lr:.6g}"))
    return table(rows)


def updates_text(timeline: Timeline) -> str:
    """The parameters that moved most, measured by their own size."""
    updates = [(end_of(r.name, NAME), r.norms["update"], r.norms["update"] / max(r.norms["weight"], 1e-30))
               for r in timeline.records if r.phase == UPDATE and "update" in r.norms]
    if not updates:
        return "no update: the loss or its gradient is not a number"
    updates.sort(key=lambda row: -row[2])
    rows = [[name, update, f"{share:.2%}"] for name, update, share in updates[:UPDATES]]
    return table(rows, ("largest updates", "norm", "of weight"))


def operations_text(timeline: Timeline, part: int | None = None, columns: int = 80) -> str:
    """Every record with the norms of its arrays; of the micro-batches, only number `part` where it is given."""
    lines, section = [], None
    for r in timeline.records:
        if part in (None, r.part) or r.part is None:
            if section != (r.phase, r.part):
                section = r.phase, r.part
                lines.append(r.where)
            norms = ", ".join(f"|{kind}|\N{NO-BREAK SPACE}{number(value)}" for kind, value in r.norms.items())
            shape = shape_text(next(iter(r.shapes.values()))) if len(r.shapes) == 1 else ""
            lines += [f"  {r.name}  {shape}".rstrip(),
                      textwrap.indent(textwrap.fill(f"{norms}  {short_place(r.place)}", columns - 6), " " * 6)]
    return "\n".join(lines)
