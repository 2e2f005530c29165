"""The default corpus: enough of it, clean, in order, and without the sources that a Python may lack."""

import re
import sys
from pathlib import Path

import pytest

from minibert.errors import InputError
from minibert.text import python_docs
from minibert.text.documents import Document
from minibert.text.numpydoc import descriptions
from minibert.text.prose import prose_paragraphs
from minibert.text.python_docs import python_documents

TOPIC = '''The "assert" statement
**********************

Assert statements are a convenient way to insert debugging
assertions into a program, see *this* and ``that`` and :func:`len`:

   assert_stmt ::= "assert" expression

An assert statement ::= is the word assert and an expression.

   for every line of code in the block: print this and that.

   if __debug__:
       if not expression: raise AssertionError

>>> x = 1
1

A heading of some words
-----------------------
The text of this heading follows at once.

* A first item of a list is here.
* A second item of it, wrap-
  ped here.

| a | b |
'''

NUMPY = '''Return the sum.

Parameters
----------
a : array_like
    Elements to add are given here.
axis : int, optional
    Axis along which the sum is performed.

See Also
--------
mean : Average of the elements in an array.

Notes
-----
Arithmetic is modular when using integer types.
'''


def test_prose_is_found_and_the_rest_is_not() -> None:
    assert prose_paragraphs(TOPIC, code_indent=3) == [
        "Assert statements are a convenient way to insert debugging assertions into a program, see this "
        "and that and len:",
        "The text of this heading follows at once.",
        "A first item of a list is here.",
        "A second item of it, wrap-ped here.",
    ]


def test_numpy_sections_leave_their_sentences() -> None:
    text = descriptions(NUMPY)
    for gone in ("Parameters", "---", "array_like", "optional", "See Also", "Average", "Notes"):
        assert gone not in text
    assert prose_paragraphs(text, code_indent=4) == [
        "Elements to add are given here.",
        "Axis along which the sum is performed.",
        "Arithmetic is modular when using integer types.",
    ]
    assert descriptions("Plain text.\n\n    More.") == "Plain text.\n\n    More."


def test_there_is_enough(raw_corpus: list[Document]) -> None:
    assert len(raw_corpus) > 450
    assert 200_000 < sum(d.words for d in raw_corpus) < 400_000
    assert sum(d.name.startswith("topic ") for d in raw_corpus) > 60
    assert len({d.name for d in raw_corpus}) == len(raw_corpus)


def test_it_is_prose(raw_corpus: list[Document]) -> None:
    sentences = [s for d in raw_corpus for s in d.sentences]
    assert not [s for s in sentences if ">>>" in s or "::=" in s or "`" in s or "\n" in s]
    assert sum(s[-1] in ".!?:\"')]" for s in sentences) > 0.98 * len(sentences)
    plain = re.compile(r"[A-Za-z ,.()'\"-]+")
    assert sum(bool(plain.fullmatch(s)) for s in sentences) > 0.6 * len(sentences)


def test_lines_point_to_the_docstring(raw_corpus: list[Document]) -> None:
    document = next(d for d in raw_corpus if d.name == "stdlib/textwrap.py")
    lines = Path(document.source).read_text(encoding="utf-8").split("\n")
    index = next(i for i, s in enumerate(document.sentences) if s.startswith("Remove any common leading"))
    assert "Remove any common leading" in lines[document.lines[index] - 1]


def test_sentences_stand_in_the_order_of_the_source(raw_corpus: list[Document]) -> None:
    for document in raw_corpus:
        assert list(document.lines) == sorted(document.lines)


def test_the_order_is_always_the_same(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "broken.py"):
        docstring = f'"""The docstring of the module {name[0]} is here."""\n'
        (tmp_path / name).write_text(docstring, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (:", encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "c.py").write_text('"""A test is not a part of the corpus."""', encoding="utf-8")
    found = python_docs._module_documents("lib", tmp_path)
    assert [d.name for d in found] == ["lib/a.py", "lib/b.py"]


def test_numpy_is_read_if_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    documents = python_documents(include_numpy=True)
    assert 80_000 < sum(d.words for d in documents) < 250_000
    assert all(d.name.startswith("numpy/") for d in documents)


def test_a_python_without_sources_gives_topics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda name: str(tmp_path / "none"))
    documents = python_documents(include_numpy=False)
    assert documents
    assert all(d.name.startswith("topic ") for d in documents)


def test_a_python_without_anything_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda name: str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="--corpus FILE"):
        python_documents(include_numpy=False)
