"""Pretraining from beginning to end: text, vocabulary, training, and a report."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from minibert.backend import Array, choose_device, device_of, room_on_gpu
from minibert.errors import InputError
from minibert.models.pretraining import BertForPreTraining
from minibert.optim import AdamW
from minibert.text.batches import PretrainingBatches, encode_documents, held_out_batches
from minibert.text.documents import Document, deduplicate, split_documents
from minibert.text.files import read_documents
from minibert.text.lint import lint
from minibert.text.python_docs import python_documents
from minibert.text.tokenizer import Tokenizer
from minibert.train.checkpoint import load_checkpoint
from minibert.train.corpus import TokenisedCorpus
from minibert.train.count_start import check_countable, start_from_counts
from minibert.train.evaluation import EVALUATION_MASK_RATE, Evaluation, Floors, evaluate, floors
from minibert.train.lanes import Lanes, single_threaded_blas
from minibert.train.loop import Trainer
from minibert.train.micro_batch import choose_micro_batch
from minibert.train.plots import draw_curves
from minibert.train.report import filled_gaps, held_out_table
from minibert.train.run import RunFolder
from minibert.train.settings import PretrainSettings

Say = Callable[[str], None]
EVALUATION_BATCH = 16


@dataclass(frozen=True)
class Loaded:
    """A run folder's settings, vocabulary and text."""

    run: RunFolder
    settings: PretrainSettings
    tokenizer: Tokenizer
    corpus: TokenisedCorpus

    @classmethod
    def read(cls, folder: Path) -> "Loaded":
        """Raises InputError when the folder holds no run, or a damaged one."""
        run = RunFolder(folder)
        return cls(run, PretrainSettings.from_file(run.settings), Tokenizer.load(folder),
                   TokenisedCorpus.load(run.corpus))

    def begin(self, device: str = "cpu") -> tuple[BertForPreTraining, AdamW]:
        """The model and the optimiser before the first step, on a device."""
        s = self.settings
        model = BertForPreTraining(s.model_config(self.tokenizer.vocab_size), seed=s.seed)
        if s.start == "counts":
            start_from_counts(model, self.corpus.train, s.seed)
        model.to(device)
        return model, AdamW(model.parameters(), s.peak_lr(model.config), (s.beta1, s.beta2), s.eps, s.weight_decay,
                            s.bias_correction)

    def batches(self) -> PretrainingBatches:
        """What it trains on, a batch for every step."""
        s = self.settings
        return PretrainingBatches(self.corpus.train, self.tokenizer, s.batch, s.length, s.seed, s.mask_rate,
                                  s.whole_word, s.short_pairs)

    def held_out(self) -> list[dict[str, Array]]:
        """The batches that every evaluation of this run uses."""
        s = self.settings
        return held_out_batches(self.corpus.held_out, self.tokenizer, EVALUATION_BATCH, s.length, s.seed,
                                EVALUATION_MASK_RATE, s.whole_word)

    def floors(self) -> Floors:
        """What can be had on the held-out text without reading the context."""
        return floors(self.corpus.held_out, self.tokenizer.vocab_size)


def say_now(text: str) -> None:
    """Print at once, even into a pipe."""
    print(text, flush=True)


def pretrain(settings: PretrainSettings, folder: Path, threads: int, say: Say = say_now, device: str = "cpu") -> bool:
    """Start a run in `folder` and train it.  True when it reached its end; see `resume` otherwise.

    device: "cpu", "cuda", or "auto" for the GPU where there is one.
    Raises InputError for bad text or settings, without the GPU asked for, or when the folder holds a run already.
    """
    device = choose_device(device)
    if settings.precision != "float32" and device == "cpu":
        raise InputError(f"products in {settings.precision} are a GPU's, and this run would compute on the CPU: leave "
                         f"out --precision")
    run = RunFolder(folder)
    run.refuse_existing()
    config = settings.model_config(settings.vocab_size)  # what cannot be is said before the work begins
    if settings.start == "counts":
        check_countable(settings.vocab_size)
    if settings.micro_batch is None:  # now, and not when resuming: on another machine it could be another number
        size = settings.batch if device == "cuda" else choose_micro_batch(config, settings.batch, settings.length)
        settings = replace(settings, micro_batch=size)
    train, held_out = prepare_text(settings, say)
    say(f"vocabulary: training {settings.vocab_size:,} WordPieces")
    tokenizer = Tokenizer.train((s for d in train for s in d.sentences), settings.vocab_size, not settings.cased)
    corpus = TokenisedCorpus(encode_documents(train, tokenizer), encode_documents(held_out, tokenizer))
    run.prepare(settings, tokenizer, corpus)
    return _train(Loaded(run, settings, tokenizer, corpus), threads, say, device)


def resume(folder: Path, threads: int, say: Say = say_now, device: str = "cpu") -> bool:
    """Go on with a run where it was saved last, to the same bits as if it had never stopped.

    On another device than it was begun on, the same numbers but for rounding.
    """
    return _train(Loaded.read(folder), threads, say, choose_device(device))


def prepare_text(settings: PretrainSettings, say: Say) -> tuple[list[Document], list[Document]]:
    """Read, check, de-duplicate and split the text into documents to train on and documents held out."""
    documents = (read_documents(settings.corpus, settings.blank_lines) if settings.corpus
                 else python_documents(settings.numpy_docs))
    if settings.corpus:
        for problem in lint(documents, settings.length).problems:
            say(f"warning: {problem}")
    train, held_out = split_documents(deduplicate(documents), settings.held_out, settings.seed)
    for name, side in (("train", train), ("held out", held_out)):
        say(f"text: {name:>8}  {len(side):>6,} documents  {sum(len(d.sentences) for d in side):>8,} sentences  "
            f"{sum(d.words for d in side):>9,} words")
    return train, held_out


def _train(loaded: Loaded, threads: int, say: Say, device: str) -> bool:
    run, s = loaded.run, loaded.settings
    with room_on_gpu("this model needs a larger GPU, or the cpu"):
        model, optimizer = loaded.begin(device)
        if run.state.exists():
            load_checkpoint(run.state, model, optimizer, s.seed)
    if optimizer.steps:
        say(f"resuming {run.path} at step {optimizer.steps:,} of {s.steps:,}")
    if s.precision != "float32" and device == "cpu":
        say(f"warning: this run's products were in {s.precision}, a GPU's; on the CPU they are float32 from here on")
    model.bert.encoder.recompute = s.recompute
    run.remove_leftovers()
    run.metrics.rewind(optimizer.steps)
    batches = loaded.batches()
    numbers, where = sum(p.size for p in model.parameters()), "a GPU" if device == "cuda" else f"{threads} threads"
    say(f"model: {model.config.num_hidden_layers} layers of width {model.config.hidden_size}, {numbers:,} parameters; "
        f"{len(batches):,} steps an epoch; {where}; saving to {run.path}")
    with room_on_gpu("start again with a smaller --micro-batch, or with --recompute"):
        finished = Trainer(run, s, model, optimizer, batches, loaded.held_out(), threads).train()
    draw_curves(run, loaded.floors(), s.mask_rate)
    if finished:
        say("\n" + report(loaded, model, threads))
    else:
        say(f"\nstopped and saved at step {optimizer.steps:,} of {s.steps:,}; to go on: "
            f"minibert pretrain --resume {run.path}")
    return finished


def evaluate_run(folder: Path, threads: int, device: str = "cpu") -> tuple[dict[str, float], str]:
    """Evaluate a run's model on its held-out documents: the numbers and floors, and the same in words."""
    loaded = Loaded.read(folder)
    model = BertForPreTraining.from_pretrained(folder, device=device)
    result, floor = _evaluate(loaded, model, threads), loaded.floors()
    numbers = {**result.to_dict(), **{f"{name}_floor": value for name, value in floor._asdict().items()}}
    return numbers, _in_words(loaded, model, result)


def report(loaded: Loaded, model: BertForPreTraining, threads: int) -> str:
    """Held-out numbers beside their floors; for the default text, also some sentences with their gaps filled."""
    return _in_words(loaded, model, _evaluate(loaded, model, threads))


def _in_words(loaded: Loaded, model: BertForPreTraining, result: Evaluation) -> str:
    parts = [held_out_table(result, loaded.floors())]
    if not loaded.settings.corpus:
        parts.append(filled_gaps(model, loaded.tokenizer))
    parts.append(f"curves: {loaded.run.path / 'loss.png'}, {loaded.run.path / 'accuracy.png'}")
    return "\n\n".join(parts)


def _evaluate(loaded: Loaded, model: BertForPreTraining, threads: int) -> Evaluation:
    if device_of(next(model.parameters()).data) != "cpu":
        return evaluate(model, loaded.held_out())
    lanes = Lanes(model, threads, EVALUATION_BATCH)
    try:
        with single_threaded_blas():
            return evaluate(model, loaded.held_out(), lanes)
    finally:
        lanes.close()


def usable_threads() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int) -> int:
    """`threads`, if there can be so many.  Raises InputError otherwise."""
    if threads < 1:
        raise InputError(f"--threads must be at least 1, not {threads}")
    return threads
