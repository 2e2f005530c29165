"""Reading text files: the two meanings of a blank line, and an error for everything that is no text."""

import os
from pathlib import Path

import pytest

from minibert.errors import InputError
from minibert.text.files import read_documents

TEXT = "First here. Second here.\nThird line.\n\n\n  \nNew document.\n"


def written(folder: Path, data: bytes | str, name: str = "c.txt") -> Path:
    file = folder / name
    file.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return file


def test_blank_lines_end_documents(tmp_path: Path) -> None:
    file = written(tmp_path, TEXT)
    first, second = read_documents([file])
    assert first.sentences == ("First here.", "Second here.", "Third line.")
    assert first.lines == (1, 1, 2)
    assert second.sentences == ("New document.",)
    assert second.where(0) == f"{file}:6"
    assert (first.name, second.name) == ("c.txt:1", "c.txt:6")


def test_blank_lines_end_paragraphs(tmp_path: Path) -> None:
    file = written(tmp_path, "A sentence is\nwrapped here. Next\none.\n\nLast. ")
    (document,) = read_documents([file], blank_lines="paragraph")
    assert document.sentences == ("A sentence is wrapped here.", "Next one.", "Last.")
    assert document.lines == (1, 1, 5)


def test_each_file_is_a_document_in_paragraph_mode(tmp_path: Path) -> None:
    files = [written(tmp_path, TEXT, name) for name in ("a.txt", "b.txt")]
    assert [d.name for d in read_documents(files, blank_lines="paragraph")] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str) -> None:
    file = written(tmp_path, b"\xef\xbb\xbf" + TEXT.replace("\n", end).encode())
    first, second = read_documents(file)
    assert first.sentences[0] == "First here."
    assert second.lines == (6,)


def test_other_scripts_come_through(tmp_path: Path) -> None:
    file = written(tmp_path, "Привет, мир. Ça va?\n\n\u4f60\u597d\u3002\u518d\u89c1\u3002\n")
    assert [d.sentences for d in read_documents(str(file))] == [
        ("Привет, мир.", "Ça va?"), ("\u4f60\u597d\u3002", "\u518d\u89c1\u3002"),
    ]


@pytest.mark.parametrize(("data", "message"), [
    (b"", r"c\.txt: the file is empty"),
    (b" \n\t\n", r"c\.txt: there is nothing but white space"),
    (b"\xef\xbb\xbf", r"c\.txt: there is nothing but white space"),
    (b"one\ntwo\0three", r"c\.txt:2: there is a NUL byte at byte 7.*binary"),
    (b"one\r\n\r\ncaf\xe9\n", r"c\.txt:3: byte 10 is 0xe9.*not UTF-8.*iconv -f ISO-8859-1 -t UTF-8 .*c\.txt"),
    (b"\xef\xbb\xbfcaf\xe9\n", r"c\.txt:1: byte 6 is 0xe9"),
    ("text\n".encode("utf-16"), r"c\.txt:1: this is UTF-16.*iconv -f UTF-16"),
])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    file = written(tmp_path, data)
    for mode in ("document", "paragraph"):
        with pytest.raises(InputError, match=message) as caught:
            read_documents([file], blank_lines=mode)
        assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt: there is no such file: check"):
        read_documents([tmp_path / "nowhere.txt"])


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is a directory: name the text files"):
        read_documents([tmp_path])


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path) -> bytes:
        raise PermissionError(13, os.strerror(13), str(file))

    file = written(tmp_path, TEXT)
    monkeypatch.setattr(Path, "read_bytes", refuse)   # a superuser may read every file
    with pytest.raises(InputError, match=r"c\.txt: the file cannot be read.*permissions"):
        read_documents([file])


def test_no_files_and_unknown_mode(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No corpus file was given"):
        read_documents([])
    with pytest.raises(InputError, match=r"'line'.*'document' or a 'paragraph'"):
        read_documents([written(tmp_path, TEXT)], blank_lines="line")   # type: ignore[arg-type]
