"""`minibert embed`: a vector for each line of text, and the lines that are nearest to a query."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.errors import InputError
from minibert.flags import add_command, add_device, add_threads

if TYPE_CHECKING:  # what computes is imported when the command runs, so that help comes at once
    from minibert.backend import Array
    from minibert.embed import Done

SUFFIXES = (".safetensors", ".npy")
DEFAULT_OUT = Path("vectors.safetensors")
NAME = "vectors"  # of the array in the file, and of nothing else there
EMBED = """\
Turn each line of text into a vector, from files or from standard input.

Writes an array `vectors` with a row for each line, blank lines too, of all files in turn. With --nearest it looks for
the lines that are most like a query instead, and writes a file only if --out is given."""


@dataclass
class Lines:
    """The lines of all files, and where in `texts` each file begins."""

    texts: list[str] = field(default_factory=list)
    files: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def read(cls, names: Sequence[str]) -> "Lines":
        """Read everything before anything is computed; without names, or where one is "-", standard input.

        Raises InputError for a file that is missing, empty or not UTF-8.
        """
        from minibert.text.files import read_lines

        lines = cls()
        for name in names or ["-"]:
            if name == "-" and sys.stdin.isatty():
                print("one text a line; Ctrl-D ends", file=sys.stderr)
            lines.files.append((len(lines.texts), name))
            lines.texts += read_lines(None if name == "-" else name)
        return lines

    def place(self, row: int) -> str:
        """file:line, as of an editor, for row number `row`."""
        start, name = next(entry for entry in reversed(self.files) if entry[0] <= row)
        return f"{name}:{row - start + 1}"


def add_embed_command(commands: Any) -> None:
    """Add the command and its flags to the parser of all commands."""
    parser = add_command(commands, "embed", "turn lines of text into vectors, or find the nearest ones", embed_command,
                         description=EMBED)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run or model folder")
    parser.add_argument("files", nargs="*", metavar="FILE", help="UTF-8 text, one text a line [standard input]")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"new file to write, {' or '.join(SUFFIXES)} [{DEFAULT_OUT}]")
    parser.add_argument("--pooling", choices=("mean", "cls", "pooler"), default="mean",
                        help="what stands for a text: the mean over its tokens, [CLS], or the pooler's output of it "
                             "[%(default)s]")
    parser.add_argument("--nearest", metavar="TEXT", help="print the lines nearest to this text by cosine")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many of the nearest lines [%(default)s]")
    add_threads(parser, "the vectors are")
    add_device(parser)


def embed_command(options: argparse.Namespace) -> int:
    """`minibert embed`."""
    from minibert.embed import embed
    from minibert.models import BertModel
    from minibert.text.tokenizer import Tokenizer
    from minibert.train.pretrain import check_threads, usable_threads

    threads = check_threads(usable_threads() if options.threads is None else options.threads)
    out = options.out or (DEFAULT_OUT if options.nearest is None else None)
    _check(options, out)
    model = BertModel.from_pretrained(options.folder, device=options.device)
    tokenizer = Tokenizer.load(options.folder)
    query = None
    if options.nearest is not None:
        query = embed(model, tokenizer, [options.nearest], options.pooling, threads=1, watch=_refuse_cut)[0]
    lines = Lines.read(options.files)
    work = Work()
    with work.progress(len(lines.texts)):
        vectors = embed(model, tokenizer, lines.texts, options.pooling, threads, watch=work.add)
    print(work.summary(model.config.max_position_embeddings))
    if out is not None:
        _write(out, vectors, options.pooling)
        print(f"{NAME} {vectors.shape[0]:,} x {vectors.shape[1]:,} in {out}")
    if query is not None:
        _print_nearest(lines, query, vectors, options.top)
    return 0


def _check(options: argparse.Namespace, out: Path | None) -> None:
    """Raise InputError for what cannot be done, before the work begins; a file that exists is never replaced."""
    from minibert.fill_mask import check_unicode

    if options.top < 1:
        raise InputError(f"--top must be at least 1, not {options.top}")
    if options.nearest is not None:
        check_unicode(options.nearest, "--nearest")
        if not options.nearest.strip():
            raise InputError("--nearest needs a text with words in it")
    if out is None:
        return
    if out.suffix not in SUFFIXES:
        raise InputError(f"--out must end in {' or '.join(SUFFIXES)}, and {out} does not")
    if os.path.lexists(out):
        raise InputError(f"{out} exists already: name another file with --out, or remove it")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"cannot write {out}: {above} is no folder that can be written to")


def _refuse_cut(done: "Done") -> None:
    if done.cut:
        raise InputError("the text of --nearest is longer than this model reads: shorten it")


class Work:
    """What has been embedded so far, and how long that took."""

    def __init__(self) -> None:
        self.texts = self.tokens = self.padding = self.cut = 0
        self.seconds = 0.0
        self.bar: Any = None

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """Time the block and show a bar; in a file or a pipe, a line every half minute."""
        from tqdm import tqdm

        begin = time.perf_counter()
        with tqdm(total=total, unit=" texts", desc="embed", dynamic_ncols=True) as self.bar:
            if not self.bar.fp.isatty():
                self.bar.mininterval = 30.0
            yield
        self.seconds = time.perf_counter() - begin

    def add(self, done: "Done") -> None:
        """Count one batch."""
        self.texts += done.texts
        self.tokens += done.tokens
        self.padding += done.padding
        self.cut += done.cut
        self.bar.update(done.texts)

    def summary(self, longest: int) -> str:
        """Amounts, speed, and how many texts were too long."""
        text = (f"{self.texts:,} texts of {self.tokens:,} tokens in {self.seconds:.1f} s: "
                f"{self.texts / self.seconds:,.0f} sentences/s, {self.tokens / self.seconds:,.0f} tokens/s, "
                f"{self.padding / (self.tokens + self.padding):.1%} padding")
        return text if not self.cut else text + (
            f"\n{self.cut:,} of them have more than the {longest:,} tokens that this model reads, with [CLS] and "
            f"[SEP]: their ends were cut off")


def _write(out: Path, vectors: "Array", pooling: str) -> None:
    """Write the array whole or not at all.  Raises InputError when that fails."""
    import numpy as np

    from minibert.files import replace_atomically
    from minibert.interop.safetensors import write_arrays

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a name, np.save would add a suffix to it
            np.save(file, vectors)

    if out.suffix == ".npy":
        replace_atomically(out, write)
    else:
        write_arrays(out, {NAME: vectors}, {"pooling": pooling})


def _print_nearest(lines: Lines, query: "Array", vectors: "Array", top: int) -> None:
    """The `top` nearest texts, each once, with cosine and place; blank lines are none."""
    from minibert.embed import cosines

    nearness = cosines(query, vectors)
    seen = {""}
    for row in (-nearness).argsort(kind="stable"):
        text = lines.texts[row].strip()
        if text not in seen:
            seen.add(text)
            print(f"{nearness[row]:6.3f}  {lines.place(int(row))}  {text}")
        if len(seen) > top:
            return
