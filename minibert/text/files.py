"""Read a corpus from plain text files.

The format is UTF-8 text; a byte order mark is accepted, and so are the line ends of every system.
There are two meanings of a blank line, and the reader must be told which:

"document"   a blank line ends a document, and each line is a paragraph, however long.  One sentence a
             line with blank lines between documents, the format of Google's BERT, is a special case.
"paragraph"  a blank line ends a paragraph, whose lines may be wrapped; each file is one document.
"""

import os
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
    # str.splitlines would also cut at U+2028 and form feeds, and then no editor would show our numbers.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks: list[list[_Paragraph]] = [[]]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            blocks[-1].append((number, line))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _unwrap(block: list[_Paragraph]) -> _Paragraph:
    return block[0][0], " ".join(line for _, line in block)


def _read_text(file: Path) -> str:
    data = _read_bytes(file)
    if not data:
        raise InputError(f"{file}: the file is empty: give a file with text.")
    if data.startswith(_UTF16_MARKS):
        raise InputError(
            f"{file}:1: this is UTF-16 text, not UTF-8: convert it with "
            f"`iconv -f UTF-16 -t UTF-8 {file} > {file}.utf8`."
        )
    if b"\0" in data:
        offset = data.index(b"\0")
        raise InputError(
            f"{file}:{_line_at(data, offset)}: there is a NUL byte at byte {offset}, so this is a binary "
            "file: give plain UTF-8 text."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(file, data) from None


def _not_utf8(file: Path, data: bytes) -> InputError:
    try:
        data.decode("utf-8")   # not utf-8-sig, which counts offsets from behind the byte order mark
    except UnicodeDecodeError as error:
        offset = error.start
    return InputError(
        f"{file}:{_line_at(data, offset)}: byte {offset} is 0x{data[offset]:02x}, which is not UTF-8: if the "
        f"file is Latin-1, convert it with `iconv -f ISO-8859-1 -t UTF-8 {file} > {file}.utf8`, otherwise "
        "name its encoding after -f."
    )


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
