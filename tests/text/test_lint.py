"""The linter must be silent on good text and name the place and the cure on bad text."""

from pathlib import Path

import numpy as np
import pytest

from minibert.text.documents import Document
from minibert.text.files import read_documents
from minibert.text.lint import lint
from minibert.text.pairs import IS_RANDOM, make_pairs


def good(documents: int = 6, sentences: int = 8) -> list[Document]:
    return [
        Document(
            f"d{d}",
            tuple(f"This is sentence {s} of the document {d} here." for s in range(sentences)),
            f"{d}.txt",
            tuple(range(1, sentences + 1)),
        )
        for d in range(documents)
    ]


def test_good_text() -> None:
    report = lint(good())
    assert report.problems == ()
    assert (report.documents, report.sentences, report.words, report.pairs) == (6, 48, 432, 42)
    assert report.random_share == 0.5
    text = str(report)
    assert "432" in text
    assert "50% true next, 50% random" in text
    assert "no problems found" in text


def test_the_default_corpus_is_good(corpus: list[Document]) -> None:
    report = lint(corpus)
    assert report.problems == ()
    assert report.duplicate_lines == 0


def test_blank_lines_between_all_lines(tmp_path: Path) -> None:
    """The classic accident: every line a document of its own, so every next-sentence label is 1."""
    file = tmp_path / "c.txt"
    file.write_text("".join(f"This is the line {i} of a text.\n\n" for i in range(50)), encoding="utf-8")
    report = lint(read_documents([file]))
    assert report.random_share == 1.0
    assert report.pairs == 0
    assert report.single_sentence_documents == 50
    (problem,) = report.problems
    assert f"{file}:1, {file}:3, {file}:5, ..." in problem
    assert "100% of the next-sentence labels would be 1" in problem
    assert "--blank-lines paragraph" in problem
    assert problem in report.render()
    cured = lint(read_documents([file], blank_lines="paragraph"))
    assert not any("labels" in p for p in cured.problems)


@pytest.mark.parametrize("singles", [0, 20, 60, 200])
def test_the_expected_balance_is_what_pairs_have(singles: int) -> None:
    alone = [Document(f"s{i}", (f"Here alone stands number {i}.",)) for i in range(singles)]
    documents = good(20, 20) + alone
    ids = [[np.arange(round(1.35 * len(s.split()))) for s in d.sentences] for d in documents]
    labels = [pair.label == IS_RANDOM for pair in make_pairs(ids, 128, seed=0, epoch=0)]
    assert abs(np.mean(labels) - lint(documents).random_share) < 0.1


def test_repeated_sentences_are_named() -> None:
    documents = [*good(), Document("copy", good()[2].sentences, "copy.txt", tuple(range(11, 19)))]
    report = lint(documents)
    assert report.duplicate_lines == 8
    assert report.duplicate_examples == ("copy.txt:11", "copy.txt:12", "copy.txt:13")
    (problem,) = report.problems
    assert "8 of 56 sentences occurred before (copy.txt:11, copy.txt:12, copy.txt:13, ...)" in problem
    assert "deduplicate" in problem


def test_one_document_only() -> None:
    (problem,) = lint(good(1)).problems
    assert "only 1 documents (0.txt:1)" in problem
    assert "give more files" in problem


def test_a_document_that_is_most_of_the_corpus() -> None:
    large = Document("large", tuple(f"A sentence of the large one, number {i}." for i in range(99)), "l.txt",
                     tuple(range(1, 100)))
    (problem,) = lint([*good(), large]).problems
    assert problem.startswith("l.txt:1: the document that begins here has 65% of all words")


def test_short_documents_and_long_sentences() -> None:
    short = Document("h", ("Chapter 1.", "Page 2."), "h.txt", (7, 8))
    long = Document("t", ("word " * 201, "Fine now."), "t.txt", (4, 5))
    first, second = lint([*good(), short, long]).problems
    assert "1 documents have fewer than 5 words (h.txt:7)" in first
    assert "1 sentences have more than 200 words (t.txt:4)" in second


def test_an_empty_corpus_is_a_report_and_no_crash() -> None:
    report = lint([])
    assert (report.documents, report.words, report.pairs) == (0, 0, 0)
    assert "only 0 documents" in report.problems[0]
