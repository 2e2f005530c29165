"""Counting, de-duplicating and splitting documents."""

import pytest

from minibert.errors import InputError
from minibert.text.documents import Document, count_words, deduplicate, split_documents


def documents_of(sizes: list[int]) -> list[Document]:
    return [Document(f"d{i}", (f"d{i} " + "word " * (size - 1),)) for i, size in enumerate(sizes)]


def test_words_of_scripts_without_blanks() -> None:
    assert count_words("two words") == 2
    assert count_words("\u4f60\u597d world") == 3
    assert count_words("Привет, мир") == 2


def test_where_names_file_and_line_or_the_document() -> None:
    assert Document("d", ("A.", "B."), "f.txt", (3, 7)).where(1) == "f.txt:7"
    assert Document("topic x", ("A.", "B.")).where(1) == "topic x, sentence 2"


def test_lines_must_match_sentences() -> None:
    with pytest.raises(ValueError, match="2 sentences but 1 lines"):
        Document("d", ("A.", "B."), "f", (1,))


def test_deduplicate_keeps_the_first_of_each_and_its_line() -> None:
    documents = [
        Document("a", ("One.", "Two.", "One."), "f", (1, 2, 3)),
        Document("b", ("Two.", "Three."), "g", (1, 2)),
        Document("c", ("One.", "Three."), "h", (1, 2)),
    ]
    assert deduplicate(documents) == [
        Document("a", ("One.", "Two."), "f", (1, 2)),
        Document("b", ("Three.",), "g", (2,)),
    ]


def test_no_sentence_stands_on_both_sides(corpus: list[Document]) -> None:
    train, held_out = split_documents(corpus, 0.05, seed=3)
    assert not {s for d in train for s in d.sentences} & {s for d in held_out for s in d.sentences}
    assert sorted(d.name for d in train + held_out) == sorted(d.name for d in corpus)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_held_out_is_a_share_of_the_words(corpus: list[Document], share: float) -> None:
    for seed in range(4):
        _, held_out = split_documents(corpus, share, seed)
        words = sum(d.words for d in held_out) / sum(d.words for d in corpus)
        assert abs(words - share) < 0.01


def test_split_depends_on_the_seed_alone(corpus: list[Document]) -> None:
    first, again, other = (split_documents(corpus, 0.1, seed)[1] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("sizes", [[5, 5, 5, 5], [1000, 3, 2, 1], [1, 1, 1000, 1000, 1]])
def test_both_sides_get_two_documents(share: float, sizes: list[int]) -> None:
    for seed in range(10):
        train, held_out = split_documents(documents_of(sizes), share, seed)
        assert len(train) >= 2
        assert len(held_out) >= 2
        assert len(train) + len(held_out) == len(sizes)


def test_too_few_documents_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"has 3 documents.*4 are needed.*ANOTHER.*more files") as caught:
        split_documents(documents_of([9, 9, 9]), 0.1, 0)
    assert "blank lines" in str(caught.value)
    with pytest.raises(InputError, match="has 1 document,"):
        split_documents(documents_of([9]), 0.1, 0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        split_documents(documents_of([9, 9, 9, 9]), share, 0)


def test_negative_seed() -> None:
    with pytest.raises(InputError, match=r"seed is -1.*0 or more"):
        split_documents(documents_of([9, 9, 9, 9]), 0.5, -1)
