"""Look a corpus over before training on it: what would quietly spoil the run is said here, with its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minibert.text.documents import MIN_DOCUMENTS, Document, count_words

_EXAMPLES = 3                    # places named for each problem
_BALANCED = 0.55                 # share of random labels up to which next-sentence prediction is fair
_MANY_REPEATED = 0.05            # share of repeated sentences worth a word
_SHORT_DOCUMENT = 5              # words
_LARGE_DOCUMENT = 0.5            # share of all words
_LONG_SENTENCE = 200             # words
_MANY_LONG = 0.001               # share of long sentences; in a text with full stops they hardly occur
_TOKENS_PER_WORD = 1.35          # measured on English text with 8,000 pieces


@dataclass(frozen=True)
class CorpusReport:
    """What `lint` found.

    pairs: places where one sentence follows another, the possible true next pairs.  random_share: the
    expected share of pairs with label 1 (random); 0.5 is balanced.  duplicate_lines: sentences that occurred
    before; duplicate_examples: the places of the first few.  short_documents: under 5 words.
    long_sentences: over 200 words.  problems: one sentence each, with the place and what to do.
    """
    documents: int
    sentences: int
    words: int
    pairs: int
    random_share: float
    single_sentence_documents: int
    duplicate_lines: int
    duplicate_examples: tuple[str, ...]
    shortest_document: int
    longest_document: int
    short_documents: int
    long_sentences: int
    problems: tuple[str, ...]

    def render(self) -> str:
        """The report as a table, with the problems below it."""
        repeated = f"{self.duplicate_lines:,}" + _examples(self.duplicate_examples)
        rows = [
            ("documents", f"{self.documents:,}"),
            ("sentences", f"{self.sentences:,}"),
            ("words", f"{self.words:,}"),
            ("true next pairs", f"{self.pairs:,} possible"),
            ("label balance", f"{1 - self.random_share:.0%} true next, {self.random_share:.0%} random"),
            ("documents of one sentence", f"{self.single_sentence_documents:,}"),
            ("words a document", f"{self.shortest_document:,} to {self.longest_document:,}"),
            (f"documents under {_SHORT_DOCUMENT} words", f"{self.short_documents:,}"),
            (f"sentences over {_LONG_SENTENCE} words", f"{self.long_sentences:,}"),
            ("repeated sentences", repeated),
        ]
        width = max(len(name) for name, _ in rows)
        table = [f"{name:<{width}}  {value}" for name, value in rows]
        problems = [f"problem: {problem}" for problem in self.problems] or ["no problems found"]
        return "\n".join([*table, "", *problems])

    def __str__(self) -> str:
        return self.render()


def lint(documents: Sequence[Document], max_length: int = 128) -> CorpusReport:
    """Count a corpus and name its problems; max_length, in tokens, is that of the training sequences.

    It takes any corpus, an empty one too, and raises nothing.
    """
    sizes = [document.words for document in documents]
    repeated = list(_repeated(documents))
    long_sentences = [
        document.where(i)
        for document in documents
        for i, sentence in enumerate(document.sentences)
        if count_words(sentence) > _LONG_SENTENCE
    ]
    sentences = sum(len(document.sentences) for document in documents)
    random_share = _random_share(documents, sizes, max_length)
    problems = (
        *_too_few(documents),
        *_unbalanced(documents, random_share),
        *_one_too_large(documents, sizes),
        *_too_short(documents, sizes),
        *_too_long(long_sentences, sentences),
        *_too_often(repeated, sentences),
    )
    return CorpusReport(
        documents=len(documents),
        sentences=sentences,
        words=sum(sizes),
        pairs=sum(max(0, len(document.sentences) - 1) for document in documents),
        random_share=random_share,
        single_sentence_documents=sum(len(document.sentences) == 1 for document in documents),
        duplicate_lines=len(repeated),
        duplicate_examples=tuple(repeated[:_EXAMPLES]),
        shortest_document=min(sizes, default=0),
        longest_document=max(sizes, default=0),
        short_documents=sum(size < _SHORT_DOCUMENT for size in sizes),
        long_sentences=len(long_sentences),
        problems=problems,
    )


def _random_share(documents: Sequence[Document], sizes: Sequence[int], max_length: int) -> float:
    """Expected share of label 1: one half, unless documents of one sentence outweigh all other pairs."""
    forced = sum(len(document.sentences) == 1 for document in documents)
    free = sum(
        max(1.0, size * _TOKENS_PER_WORD / max_length)
        for document, size in zip(documents, sizes, strict=True)
        if len(document.sentences) > 1
    )
    return max(0.5, forced / (forced + free)) if forced else 0.5


def _repeated(documents: Sequence[Document]) -> Iterator[str]:
    seen: set[str] = set()
    for document in documents:
        for i, sentence in enumerate(document.sentences):
            if sentence in seen:
                yield document.where(i)
            seen.add(sentence)


def _too_few(documents: Sequence[Document]) -> Iterator[str]:
    if len(documents) < 2 * MIN_DOCUMENTS:
        place = f" ({documents[0].where(0)})" if documents else ""
        yield (
            f"there are only {len(documents)} documents{place}, but training and held-out text need "
            f"{MIN_DOCUMENTS} each, because wrong next sentences come from another document: give more "
            "files, or separate documents with blank lines and use --blank-lines document."
        )


def _unbalanced(documents: Sequence[Document], random_share: float) -> Iterator[str]:
    if random_share > _BALANCED:
        places = [document.where(0) for document in documents if len(document.sentences) == 1]
        yield (
            f"{len(places)} of {len(documents)} documents have a single sentence, so {random_share:.0%} of "
            f"the next-sentence labels would be 1 (random) and there is little to learn{_examples(places)}: "
            "if blank lines separate paragraphs or sentences, and not documents, use --blank-lines paragraph."
        )


def _one_too_large(documents: Sequence[Document], sizes: Sequence[int]) -> Iterator[str]:
    largest = max(sizes, default=0)
    if len(documents) > 1 and largest > _LARGE_DOCUMENT * sum(sizes):
        document = documents[sizes.index(largest)]
        yield (
            f"{document.where(0)}: the document that begins here has {largest / sum(sizes):.0%} of all "
            "words, so wrong next sentences always come from the small rest: split it, by chapters for one."
        )


def _too_short(documents: Sequence[Document], sizes: Sequence[int]) -> Iterator[str]:
    places = [d.where(0) for d, size in zip(documents, sizes, strict=True) if size < _SHORT_DOCUMENT]
    if places:
        yield (
            f"{len(places)} documents have fewer than {_SHORT_DOCUMENT} words{_examples(places)}: remove "
            "headings, page numbers and separators, or join them to the text they belong to."
        )


def _too_long(places: Sequence[str], sentences: int) -> Iterator[str]:
    if len(places) > _MANY_LONG * sentences:
        yield (
            f"{len(places)} sentences have more than {_LONG_SENTENCE} words{_examples(places)}: text without "
            "full stops, tables or code do not read as sentences: put one sentence on a line or remove them."
        )


def _too_often(places: Sequence[str], sentences: int) -> Iterator[str]:
    if len(places) > _MANY_REPEATED * sentences:
        yield (
            f"{len(places)} of {sentences} sentences occurred before{_examples(places)}: a model learns them "
            "by heart and the held-out loss lies, so remove the copies (minibert.text.deduplicate does)."
        )


def _examples(places: Sequence[str]) -> str:
    if not places:
        return ""
    more = ", ..." if len(places) > _EXAMPLES else ""
    return f" ({', '.join(places[:_EXAMPLES])}{more})"
