"""The doctor's visit to a run folder, and to text before anything is trained on it."""

import math
from collections.abc import Sequence
from pathlib import Path

from minibert.debug.auditing.data import Data
from minibert.debug.auditing.examination import DATA_CHECKS, Watch, examine_model, run_checks
from minibert.debug.auditing.finding import Finding, Verdict, check, note, ok, problem, skipped
from minibert.debug.auditing.patient import whole_batch
from minibert.debug.auditing.report import Report
from minibert.debug.replaying.training_step import load_step
from minibert.errors import InputError
from minibert.text.batches import PretrainingBatches
from minibert.text.documents import Document, deduplicate
from minibert.text.files import BlankLines, read_documents
from minibert.text.lint import lint
from minibert.text.tokenizer import Tokenizer
from minibert.train.pretrain import Loaded

BATCHES = 40
SIZE, LENGTH, VOCABULARY, MASK_RATE = 16, 64, 3000, 0.15  # of the batches that are made of plain text
AT_THE_FLOOR = 0.05  # of the unigram entropy
TOO_GOOD = 0.05  # nats: no text is so predictable
SHARED = 0.01  # share of held-out sentences that may be in the training text
ONE_CLASS = 0.05


def doctor_run(folder: Path, watch: Watch = lambda name: None) -> Report:
    """Examine a run: its model and its next batch, forty batches of its data, its text and its held-out numbers.

    Raises InputError when the folder holds no run, or one that was never saved.
    """
    step = load_step(folder)
    loaded = step.loaded
    batches = loaded.batches()
    steps = range(min(BATCHES, len(batches)))
    data = Data([batches.batch(number) for number in steps], loaded.tokenizer, loaded.corpus.train,
                loaded.settings.mask_rate, loaded.settings.whole_word, watch)
    findings = examine_model(step.model, whole_batch(step.batch), None, watch)
    findings = [finding for finding in findings if finding.name != "accumulation"]  # that is for routines of one's own
    findings += run_checks(DATA_CHECKS, data, watch)
    findings += run_checks((held_out_text, held_out_loss), loaded, watch)
    return Report(f"doctor: run {folder}, after {step.number - 1:,} steps", tuple(findings))


def doctor_corpus(files: Sequence[str | Path], blank_lines: BlankLines = "document",
                  watch: Watch = lambda name: None) -> Report:
    """Examine text files: lint's problems, and the pairs and masks that training would make of them.

    Raises InputError for a file that cannot be read as text.
    """
    documents = read_documents(files, blank_lines)
    findings = run_checks([corpus], documents, watch)
    title = f"doctor: {len(files)} file{'s' * (len(files) != 1)}, {len(documents):,} documents"
    try:
        data = _data_of(deduplicate(documents), watch)
    except InputError as error:
        return Report(title, (*findings, Finding("batches", "problem", str(error), "there is nothing to train on")))
    return Report(title, (*findings, *run_checks(DATA_CHECKS, data, watch)))


def _data_of(documents: Sequence[Document], watch: Watch) -> Data:
    """Batches of plain text, as training makes them."""
    tokenizer = Tokenizer.train((s for d in documents for s in d.sentences), VOCABULARY)
    batches = PretrainingBatches.from_documents(documents, tokenizer, SIZE, LENGTH, mask_rate=MASK_RATE)
    steps = range(min(BATCHES, len(batches)))
    return Data([batches.batch(step) for step in steps], tokenizer, batches.documents_ids, MASK_RATE, watch=watch)


@check("corpus",
       "text that is cut into documents in the wrong places, or repeats itself, spoils a run silently",
       "google-research/bert #125, google-research/bert #746")
def corpus(documents: Sequence[Document]) -> Verdict:
    """What `minibert lint` says."""
    report = lint(documents, LENGTH)
    numbers = {"documents": report.documents, "sentences": report.sentences, "words": report.words,
               "repeated": report.duplicate_lines, "random_share": report.random_share}
    if report.problems:
        return problem(" ".join(f"({number}) {words}" for number, words in enumerate(report.problems, 1)), **numbers)
    return ok(f"{report.documents:,} documents, {report.sentences:,} sentences, {report.duplicate_lines:,} of them "
              f"repeated", **numbers)


@check("held-out text",
       "a sentence that is in both parts is known by heart, and the held-out loss looks better than it is",
       "google-research/bert #746")
def held_out_text(loaded: Loaded) -> Verdict:
    """Training text and held-out text share no sentences."""
    train, held_out = ([sentence.tobytes() for document in side for sentence in document] for side in loaded.corpus)
    known = set(train)
    shared = sum(sentence in known for sentence in held_out)
    repeated = len(train) - len(known)
    numbers = {"shared": shared, "held_out": len(held_out), "train": len(train), "repeated": repeated}
    words = f"{shared} of {len(held_out):,} held-out sentences are in the training text"
    return (problem if shared > SHARED * len(held_out) else ok)(words, **numbers)


@check("held-out loss",
       "beside chance and the unigram entropy, which is the loss of knowing how frequent words are and reading "
       "nothing, a loss says whether anything was learnt",
       "google-research/bert #649, google-research/bert #1376")
def held_out_loss(loaded: Loaded) -> Verdict:
    """The last evaluation of the run beside its floors."""
    records = [record for record in loaded.run.metrics.read() if "held_out" in record]
    if not records:
        return skipped("the run has not been evaluated yet")
    step, numbers, floors = records[-1]["step"], records[-1]["held_out"], loaded.floors()
    masked, pair = (math.nan if numbers[name] is None else numbers[name] for name in ("masked_loss", "pair_loss"))
    evidence = {"step": step, **numbers, **{f"{name}_floor": value for name, value in floors._asdict().items()}}
    words = (f"at step {step:,}: masked {masked:.3g} nats (chance {floors.chance:.3g}, unigram {floors.unigram:.3g}), "
             f"next sentence {pair:.3g} (chance {floors.pair:.3g})")
    if not math.isfinite(masked):
        return problem(f"the loss is not a finite number {words}", **evidence)
    if masked > (1.0 + AT_THE_FLOOR) * floors.chance:
        return problem(f"worse than guessing blindly {words}", **evidence)
    if masked < TOO_GOOD:
        return problem(f"too good to be true {words}: the model can see the answers, or the text repeats itself",
                       **evidence)
    if masked > (1.0 - AT_THE_FLOOR) * floors.unigram:
        return note(f"{words}. It is at the unigram floor: it knows how frequent words are and does not use their "
                    f"context yet. That is normal in the first thousands of steps; if it stays there, try a larger "
                    f"batch, another learning rate, or text without repeated lines", **evidence)
    classes = [numbers[name] for name in ("next_accuracy", "random_accuracy")]
    if None not in classes and min(classes) < ONE_CLASS:
        return note(f"{words}; it answers every pair alike: {classes[0]:.0%} of the true next and {classes[1]:.0%} of "
                    f"the random pairs are right", **evidence)
    return ok(words, **evidence)
