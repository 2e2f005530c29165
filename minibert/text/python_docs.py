"""The default corpus: Python's own documentation, read from the interpreter that runs.

Nothing has to be fetched.  Three sources, each document about one thing:

topics      `pydoc_data.topics`, the text behind `help("topics")`: one topic is one document
docstrings  of the standard library, read from its source with `ast`: one module is one document
NumPy       its docstrings, in the same way

The text differs a little from one version of Python to the next.
"""

import ast
import importlib
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minibert.errors import InputError
from minibert.text.documents import Document
from minibert.text.numpydoc import descriptions
from minibert.text.prose import prose_paragraphs
from minibert.text.sentences import split_sentences

# Other people's packages, text made for tests, and copies of text that is read elsewhere.
_SKIPPED_FOLDERS = {
    "test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "ensurepip", "lib2to3",
    "pydoc_data",
}
_SKIPPED_PREFIXES = ("config-", "_sysconfigdata")
_TOPIC_CODE_INDENT = 3
_DOCSTRING_CODE_INDENT = 4
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_documents(include_numpy: bool = True) -> list[Document]:
    """All documents of the default corpus, in the same order every time.

    About 400,000 words with NumPy, 350,000 after `documents.deduplicate`, which is left to the caller.
    A Python without `pydoc_data` gives docstrings only, one without sources gives topics only.
    Raises InputError if this Python has no documentation at all.
    """
    documents = _topic_documents()
    documents += _module_documents("stdlib", Path(sysconfig.get_path("stdlib")))
    if include_numpy:
        documents += _module_documents("numpy", Path(np.__file__).parent)
    if not documents:
        raise InputError(
            "This Python has neither documentation topics nor library sources to read text from: "
            "give your own text with --corpus FILE."
        )
    return documents


def _topic_documents() -> list[Document]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:   # some distributions leave it out
        return []
    documents = []
    for topic, text in sorted(topics.items()):
        sentences = _sentences(text, _TOPIC_CODE_INDENT)
        if sentences:
            documents.append(Document(f"topic {topic}", tuple(sentences)))
    return documents


def _module_documents(package: str, folder: Path) -> list[Document]:
    documents = []
    for file in _source_files(folder):
        sentences: list[str] = []
        lines: list[int] = []
        for line, docstring in _docstrings(file):
            found = _sentences(descriptions(docstring), _DOCSTRING_CODE_INDENT)
            sentences += found
            lines += [line] * len(found)
        if sentences:
            name = f"{package}/{file.relative_to(folder).as_posix()}"
            documents.append(Document(name, tuple(sentences), str(file), tuple(lines)))
    return documents


def _sentences(text: str, code_indent: int) -> list[str]:
    return [s for paragraph in prose_paragraphs(text, code_indent) for s in split_sentences(paragraph)]


def _source_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders
            if name not in _SKIPPED_FOLDERS and not name.startswith(_SKIPPED_PREFIXES)
        )
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith(_SKIPPED_PREFIXES):
                yield Path(root, name)


def _docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """(line, docstring) in the order of the source, so that neighbours speak of the same thing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # doubtful escapes in other people's source
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):   # a template, or a file for another Python
        return
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, _Documented):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.body[0].lineno, docstring
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        stack += reversed(children)
