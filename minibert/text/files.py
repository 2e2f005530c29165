"""Read a corpus from plain text files.

The format is UTF-8 text; a byte order mark is accepted, and so are the line ends of every system.
There are two meanings of a blank line, and the reader must be told which:

"document"   a blank line ends a document, and each line is a paragraph, however long.  One sentence a
             line with blank lines between documents, the format of Google's BERT, is a special case.
"paragraph"  a blank line ends a paragraph, whose lines may be wrapped; each file is one document.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from minibert.errors import InputError
from minibert.text.documents import Document
from minibert.text.sentences import split_sentences

BlankLines = Literal["document", "paragraph"]
_Paragraph = tuple[int, str]   # the number of its first line, its text
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_documents(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], blank_lines: BlankLines = "document"
) -> list[Document]:
    """The documents of one or more text files, in order; see the module for the format.

    Raises InputError, naming the file and where possible the line, for a file that is missing, a
    directory, unreadable, empty, binary, not UTF-8, or nothing but white space.
    """
    if blank_lines not in get_args(BlankLines):
        raise InputError(
            f"blank_lines is {blank_lines!r}, but a blank line ends a 'document' or a 'paragraph': say which."
        )
    files = [Path(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not files:
        raise InputError("No corpus file was given: name at least one UTF-8 text file.")
    documents = []
    for file in files:
        blocks = _blocks(_read_text(file))
        if not blocks:
            raise InputError(f"{file}: there is nothing but white space in this file: give a file with text.")
        if blank_lines == "document":
            documents += [_document(f"{file.name}:{block[0][0]}", file, block) for block in blocks]
        else:
            documents.append(_document(file.name, file, [_unwrap(block) for block in blocks]))
    return documents


def read_lines(file: str | os.PathLike[str] | None) -> list[str]:
    """Every line of a file, or where it is None of standard input, blank ones too.

    Raises InputError, as `read_documents` does, unless there is text in it.
    """
    name = "standard input" if file is None else str(file)
    data = sys.stdin.buffer.read() if file is None else _read_bytes(Path(file))
    lines = _lines(_decode(name, data, piped=file is None))
    if not any(line.strip() for line in lines):
        raise InputError(f"{name}: there is no text here: give lines with words in them.")
    return lines if lines[-1] else lines[:-1]   # the end of the last line begins no other


def _document(name: str, file: Path, paragraphs: Iterable[_Paragraph]) -> Document:
    sentences: list[str] = []
    lines: list[int] = []
    for line, paragraph in paragraphs:
        found = split_sentences(paragraph)
        sentences += found
        lines += [line] * len(found)
    return Document(name, tuple(sentences), str(file), tuple(lines))


def _blocks(text: str) -> list[list[_Paragraph]]:
    """The runs of lines that are not blank, each line with its number."""
    blocks: list[list[_Paragraph]] = [[]]
    for number, line in enumerate(_lines(text), start=1):
        if line.strip():
            blocks[-1].append((number, line))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _lines(text: str) -> list[str]:
    # str.splitlines would also cut at U+2028 and form feeds, and then no editor would show our numbers.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _unwrap(block: list[_Paragraph]) -> _Paragraph:
    return block[0][0], " ".join(line for _, line in block)


def _read_text(file: Path) -> str:
    return _decode(str(file), _read_bytes(file))


def _decode(name: str, data: bytes, piped: bool = False) -> str:
    """The text in a file or a pipe that is called `name`."""
    if not data and not piped:
        raise InputError(f"{name}: the file is empty: give a file with text.")
    if data.startswith(_UTF16_MARKS):
        raise InputError(f"{name}:1: this is UTF-16 text, not UTF-8: {_conversion(name, 'UTF-16', piped)}.")
    if b"\0" in data:
        offset = data.index(b"\0")
        raise InputError(
            f"{name}:{_line_at(data, offset)}: there is a NUL byte at byte {offset}, so this is a binary "
            "file: give plain UTF-8 text."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(name, data, piped) from None


def _not_utf8(name: str, data: bytes, piped: bool) -> InputError:
    try:
        data.decode("utf-8")   # not utf-8-sig, which counts offsets from behind the byte order mark
    except UnicodeDecodeError as error:
        offset = error.start
    return InputError(
        f"{name}:{_line_at(data, offset)}: byte {offset} is 0x{data[offset]:02x}, which is not UTF-8: if the "
        f"file is Latin-1, {_conversion(name, 'ISO-8859-1', piped)}, otherwise name its encoding after -f."
    )


def _conversion(name: str, encoding: str, piped: bool) -> str:
    command = f"iconv -f {encoding} -t UTF-8"
    return f"pipe it through `{command}`" if piped else f"convert it with `{command} {name} > {name}.utf8`"


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file: check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{file}: this is a directory: name the text files in it.") from None
    except OSError as error:
        if file.is_dir():   # Windows calls opening a directory a lack of permission
            raise InputError(f"{file}: this is a directory: name the text files in it.") from None
        raise InputError(
            f"{file}: the file cannot be read ({error.strerror}): check its permissions."
        ) from None


def _line_at(data: bytes, offset: int) -> int:
    before = data[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1
