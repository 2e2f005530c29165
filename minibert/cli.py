"""The `minibert` command."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from minibert.backend import OutOfMemory, room_on_gpu
from minibert.bench.command import add_bench
from minibert.debug.commands.card import add_card
from minibert.debug.commands.doctor import add_doctor
from minibert.debug.commands.replay import add_replay
from minibert.debug.commands.step import add_step
from minibert.embed_command import add_embed_command
from minibert.errors import InputError
from minibert.flags import add_command, add_device, add_threads
from minibert.lab.commands import add_lab, add_notebooks
from minibert.train.settings import PretrainSettings

INTERRUPTED = 130  # what shells report for a command ended by Ctrl-C

OVERVIEW = """\
BERT in NumPy: pretrain it, question it, look inside.

  minibert pretrain                          train on Python's own documentation (about ten minutes)
  minibert pretrain --corpus book.txt        train on your text
  minibert pretrain --resume runs/pretrain-1 go on after a stop
  minibert fill-mask runs/pretrain-1 "Raise a [MASK] if the key is not found."
  minibert embed runs/pretrain-1 text.txt    a vector for each line; --nearest "Open a file." finds lines like it
  minibert evaluate runs/pretrain-1          held-out numbers beside their floors
  minibert lint book.txt                     is this text fit to train on?
  minibert doctor runs/pretrain-1            is the run, its model and its text free of known faults?
  minibert step runs/pretrain-1              walk through a training step, operation by operation
  minibert replay runs/pretrain-1 --step 412 any step again, bit for bit; change something and compare
  minibert card layer_norm                   an operation's formulas, forward and backward
  minibert notebooks                         learn it: every formula by hand, with exercises; `minibert lab` keeps count
  minibert bench                             how fast is a training step here, beside other libraries?

A run folder is a Hugging Face model folder: transformers loads it, and minibert loads what transformers saved.
`minibert COMMAND --help` explains each command and all its flags."""

PRETRAIN = """\
Pretrain a BERT: guess masked words, and tell whether one sentence follows another.

Without flags it trains on the documentation topics and docstrings of the running Python and of NumPy. The run folder
holds the model, the vocabulary, metrics.jsonl, and the curves loss.png and accuracy.png, with their floors: chance,
and the unigram entropy, which is the loss of a model that knows how frequent words are and reads no context. With
--start random a run stays near that floor for its first thousands of steps. Ctrl-C saves and stops."""

CORPUS = """\
Text is UTF-8. By default a blank line ends a document, and each line is a paragraph, or a sentence: Google's format
for BERT is one sentence a line and a blank line between documents. With --blank-lines paragraph, a blank line ends
only a paragraph, whose lines are joined, and each file is one document. Next-sentence pairs need sentences of other
documents, so there must be several; `minibert lint` counts them and says what is wrong, by file and line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it did what was asked, 1 for a mistake of the user, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a piece of text that the terminal lacks is no error
    try:
        with room_on_gpu("take a smaller model or batch, or --device cpu"):  # a command may say better
            status: int = options.run(options)
        sys.stdout.flush()  # here, where a closed pipe can be answered, and not when Python ends
        return status
    except InputError as error:
        print(f"minibert: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minibert: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest when it ends
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minibert", description=OVERVIEW,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_pretrain(commands)
    fill = add_command(commands, "fill-mask", "guess the words behind [MASK]", fill_mask_command)
    fill.add_argument("folder", type=Path, metavar="RUN", help="a run or model folder")
    fill.add_argument("text", help='such as "Return the [MASK] of the list."')
    fill.add_argument("--top", type=int, default=5, help="guesses for each [MASK] [%(default)s]")
    add_device(fill)
    add_embed_command(commands)
    evaluate = add_command(commands, "evaluate", "evaluate a run on its held-out documents", evaluate_command)
    evaluate.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_device(evaluate)
    add_threads(evaluate)
    check = add_command(commands, "lint", "check text files before training on them", lint_command, epilog=CORPUS)
    check.add_argument("files", nargs="+", metavar="FILE", help="UTF-8 text")
    check.add_argument("--blank-lines", choices=("document", "paragraph"), default="document",
                       help="what a blank line ends [%(default)s]")
    for add in (add_doctor, add_step, add_replay, add_card, add_notebooks, add_lab, add_bench):
        add(commands)
    return parser


def _add_pretrain(commands: Any) -> None:
    parser = add_command(commands, "pretrain", "train a BERT from nothing", pretrain_command, description=PRETRAIN,
                  epilog=CORPUS)
    folder = parser.add_argument_group("run")
    folder.add_argument("--out", type=Path, metavar="RUN", help="folder of the run [runs/pretrain-1, -2, ...]")
    folder.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run; its settings stay as they are")
    add_device(folder)
    add_threads(folder)
    groups: dict[str, Any] = {}
    for field in fields(PretrainSettings):
        details = dict(field.metadata)
        name = details.pop("group")
        group = groups.setdefault(name, None) or groups.update({name: parser.add_argument_group(name)}) or groups[name]
        _add_setting(group, field.name, field.default, details)


def _add_setting(group: Any, name: str, default: Any, details: dict[str, Any]) -> None:
    """A flag for one field of the settings; it is absent from the result when the user did not give it."""
    flag = "--" + name.replace("_", "-")
    words = {True: "on", False: "off"} if isinstance(default, bool) else {}
    shown = "" if default in (None, ()) else f" [{words.get(default, default)}]"
    details |= {"dest": name, "default": argparse.SUPPRESS, "help": details["help"] + shown}
    if isinstance(default, bool):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **details)
    elif isinstance(default, tuple):
        group.add_argument(flag, **details)
    else:
        kind = details.pop("type", type(default))
        details.setdefault("metavar", None if "choices" in details else "N")
        group.add_argument(flag, type=kind, **details)


def pretrain_command(options: argparse.Namespace) -> int:
    """`minibert pretrain`, and if it comes to grief, where and why."""
    from minibert.train.black_box import Diverged
    from minibert.train.run import next_free_folder

    folder = options.resume or options.out or next_free_folder()
    try:
        return 0 if _pretrain(options, folder) else INTERRUPTED
    except Diverged as error:
        if error.recorded:
            from minibert.debug.blaming.diverged import explain

            print("\n" + explain(folder), flush=True)
        raise
    except OutOfMemory as error:
        from minibert.debug.accounts.room import room
        from minibert.train.pretrain import Loaded

        print("\n" + room(Loaded.read(folder), error.total), flush=True)
        raise


def _pretrain(options: argparse.Namespace, folder: Path) -> bool:
    """Begin a run in `folder`, or go on with it."""
    from minibert.train.pretrain import check_threads, pretrain, resume, usable_threads

    given = {f.name: getattr(options, f.name) for f in fields(PretrainSettings) if hasattr(options, f.name)}
    threads = check_threads(usable_threads() if options.threads is None else options.threads)
    if options.resume:
        if given or options.out:
            names = ", ".join("--" + name.replace("_", "-") for name in [*given, *(["out"] if options.out else [])])
            raise InputError(f"--resume goes on with the settings of the run, so {names} cannot be given with it")
        return resume(folder, threads, device=options.device)
    if "corpus" in given:
        given["corpus"] = tuple(str(Path(file).resolve()) for file in given["corpus"])
    return pretrain(PretrainSettings(**given), folder, threads, device=options.device)


def fill_mask_command(options: argparse.Namespace) -> int:
    """`minibert fill-mask`."""
    from minibert.fill_mask import fill_mask
    from minibert.models import BertForPreTraining
    from minibert.text.tokenizer import Tokenizer

    if options.top < 1:
        raise InputError(f"--top must be at least 1, not {options.top}")
    model = BertForPreTraining.from_pretrained(options.folder, device=options.device)
    tokenizer = Tokenizer.load(options.folder)
    for number, guesses in enumerate(fill_mask(model, tokenizer, options.text, options.top), 1):
        print(f"[MASK] {number}")
        for guess in guesses:
            print(f"  {guess.piece:<20}{guess.probability:>7.1%}  {'#' * round(40 * guess.probability)}".rstrip())
    return 0


def evaluate_command(options: argparse.Namespace) -> int:
    """`minibert evaluate`."""
    from minibert.train.pretrain import check_threads, evaluate_run, usable_threads

    threads = check_threads(usable_threads() if options.threads is None else options.threads)
    numbers, report = evaluate_run(options.folder, threads, options.device)
    print(json.dumps(numbers) if options.json else report)
    return 0


def lint_command(options: argparse.Namespace) -> int:
    """`minibert lint`: 0 when there is nothing to complain about."""
    from minibert.text.files import read_documents
    from minibert.text.lint import lint

    report = lint(read_documents(options.files, options.blank_lines))
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
