"""Sentences of many languages; nothing but white space between them is lost."""

import pytest

from minibert.text.documents import Document
from minibert.text.sentences import split_sentences


@pytest.mark.parametrize(("text", "expected"), [
    ("One here. Two there! Three?", ["One here.", "Two there!", "Three?"]),
    ('He said "Go." (So we went.) Then it rained.', ['He said "Go."', "(So we went.)", "Then it rained."]),
    ("Use a list, e.g. Python's, i.e. This one.", ["Use a list, e.g. Python's, i.e. This one."]),
    ("Dr. Smith met J. Jones. They spoke.", ["Dr. Smith met J. Jones.", "They spoke."]),
    ("See No. 5 of it. Is it? No. It is not.", ["See No. 5 of it.", "Is it?", "No.", "It is not."]),
    ("Pi is 3.14 in a.b.c here. Yes.", ["Pi is 3.14 in a.b.c here.", "Yes."]),
    ("3. Close the file. 4. Go home.", ["3. Close the file.", "4. Go home."]),
    ("the end. and so on.", ["the end. and so on."]),
    ("Wrapped\n  lines\tare joined. Good.", ["Wrapped lines are joined.", "Good."]),
    ("No full stop", ["No full stop"]),
    ("It ends. ).", ["It ends. )."]),
    (" \n ", []),
])
def test_english(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("\u4eca\u65e5\u306f\u6674\u308c\u3067\u3059\u3002\u660e\u65e5\u306f\uff1f\u306f\u3044\uff01", 3),
    ("\u300c\u306f\u3044\u3002\u300d\u305d\u3046\u3067\u3059\u3002", 2),
    ("Это первое. Вот второе! Где третье?", 3),
    ("Ça va? Étonnant. Où êtes-vous?", 3),
    ("هل أنت هنا؟ نعم. شكرا", 3),
    ("यह पहला है। वह दूसरा है।", 2),
])
def test_other_scripts(text: str, expected: int) -> None:
    sentences = split_sentences(text)
    assert len(sentences) == expected
    assert "".join(sentences).replace(" ", "") == text.replace(" ", "")


def test_a_closing_bracket_stays_with_its_sentence() -> None:
    japanese = split_sentences("\u300c\u306f\u3044\u3002\u300d\u305d\u3046\u3067\u3059\u3002")
    assert japanese[0] == "\u300c\u306f\u3044\u3002\u300d"


def test_only_white_space_is_lost(raw_corpus: list[Document]) -> None:
    text = " ".join(s for d in raw_corpus[:60] for s in d.sentences)
    assert " ".join(split_sentences(text)) == text
