"""Find the prose in documentation text: no code, no examples, no tables, no grammar, no headings."""

import re
from collections.abc import Iterator

_UNDERLINE = re.compile(r"\s*[=\-*~^+#_|\"]{3,}\s*")
_BULLET = re.compile(r"\s*(?:[*\-+o•]|\d+[.)]|\(\d+\)|\[\d+\])\s+")
_CODE_LINE = re.compile(r"\s*(?:>>>|\.\.\.|\||\+-)|.*  \|")
_FOOTNOTE = re.compile(r" ?\[\d+\]_")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}")
_ROLE = re.compile(r":[a-z:]+:`[~!]?([^`]+)`")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(\w[^*]*?)\1(?![\w*])")
_WRAPPED_HYPHEN = re.compile(r"(?<=\w)- (?=\w)(?!and\b|or\b)")
_FIRST = re.compile(r"[\"'(\[]*[^\W_]")
_LAST = re.compile(r"[.!?:][\"')\]]*$")

_MIN_WORDS = 5
_MIN_WORDS_INDENTED = 8
_MIN_LETTERS = 0.78
"""Share of letters and blanks: below it a paragraph is mostly symbols."""


def prose_paragraphs(text: str, code_indent: int) -> list[str]:
    """The paragraphs of `text` that are prose, unwrapped and without markup.

    text: plain documentation text with blank lines between paragraphs.  code_indent: lines indented by
    as many blanks are code, unless they read like a sentence.
    """
    paragraphs = []
    for block in re.split(r"\n\s*\n", text):
        lines = _without_headings(block)
        if lines and _is_text(lines, code_indent):
            cleaned = (_clean(item) for item in _items(lines))
            paragraphs += [paragraph for paragraph in cleaned if _is_prose(paragraph)]
    return paragraphs


def _without_headings(block: str) -> list[str]:
    """The lines of a block, less blank ones, underlines, and the headings that they underline."""
    lines = [line.rstrip() for line in block.split("\n") if line.strip()]
    kept: list[str] = []
    for line in lines:
        if not _UNDERLINE.fullmatch(line):
            kept.append(line)
        elif kept and abs(len(kept[-1].strip()) - len(line.strip())) <= 2:
            kept.pop()
    return kept


def _is_text(lines: list[str], code_indent: int) -> bool:
    """Whether a block is text and not a doctest, a table or indented code."""
    if any(map(_CODE_LINE.match, lines)):
        return False
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    if indent < code_indent or _BULLET.match(lines[0]):
        return True
    joined = " ".join(line.strip() for line in lines)   # the body of a definition is indented too
    return joined[0].isupper() and joined[-1] in ".!?" and len(joined.split()) >= _MIN_WORDS_INDENTED


def _items(lines: list[str]) -> Iterator[str]:
    """The block as one string, or one string for each item if it is a list."""
    item: list[str] = []
    for line in lines:
        bullet = _BULLET.match(line)
        if bullet and item:
            yield " ".join(item)
            item = []
        item.append(line[bullet.end():] if bullet else line.strip())
    yield " ".join(item)


def _clean(paragraph: str) -> str:
    """Take the markup away and keep its words; mend words wrapped at a hyphen."""
    paragraph = _LINK.sub(r"\1", _FOOTNOTE.sub("", paragraph))
    paragraph = _ROLE.sub(r"\1", paragraph).replace("`", "")
    paragraph = " ".join(_EMPHASIS.sub(r"\2", paragraph).split())
    return _WRAPPED_HYPHEN.sub("-", paragraph)


def _is_prose(paragraph: str) -> bool:
    if len(paragraph.split()) < _MIN_WORDS or ">>>" in paragraph or "::=" in paragraph:
        return False
    letters = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
    if letters < _MIN_LETTERS * len(paragraph):
        return False
    return bool(_FIRST.match(paragraph) and _LAST.search(paragraph))
