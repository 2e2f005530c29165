"""Cut a paragraph into sentences, with rules that hold for most scripts.

Two kinds of full stop exist.  `.`, `!`, `?` and their Arabic, Indic, Armenian and Ethiopic relatives
end a sentence only before white space, and only if no small letter follows.  The wide full stops of
Chinese and Japanese end it wherever they stand.
"""

import re

_BEFORE_BLANK = (
    ".!?\N{HORIZONTAL ELLIPSIS}\N{ARABIC QUESTION MARK}\N{ARABIC FULL STOP}\N{DEVANAGARI DANDA}"
    "\N{DEVANAGARI DOUBLE DANDA}\N{ARMENIAN FULL STOP}\N{ETHIOPIC FULL STOP}\N{ETHIOPIC QUESTION MARK}"
    "\N{MYANMAR SIGN SECTION}\N{KHMER SIGN KHAN}"
)
_ANYWHERE = (
    "\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH EXCLAMATION MARK}\N{FULLWIDTH QUESTION MARK}"
    "\N{HALFWIDTH IDEOGRAPHIC FULL STOP}"
)
_CLOSERS = (
    "\"'*)\\]}\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
    "\N{RIGHT CORNER BRACKET}\N{RIGHT WHITE CORNER BRACKET}\N{RIGHT BLACK LENTICULAR BRACKET}"
    "\N{RIGHT DOUBLE ANGLE BRACKET}\N{FULLWIDTH RIGHT PARENTHESIS}"
)
_BOUNDARY = re.compile(rf"[{_BEFORE_BLANK}]+[{_CLOSERS}]*\s+|[{_ANYWHERE}]+[{_CLOSERS}]*\s*")

# After these the sentence goes on, whatever follows.
_TITLES = "[Ee].g|[Ii].e|cf|vs|viz|approx|resp|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Mme|Hr|Fr|bzw|z.B|d.h|ca"
# After these it goes on if a number follows: "No. 5", but "Is it? No. It is not."
_COUNTED = "No|Nr|Fig|Figs|Eq|Eqs|Sec|Ch|Vol|p|pp|Art"
_GOES_ON = re.compile(
    rf"(?:(?<!\w)(?:{_TITLES.replace('.', '[.]')})"   # an abbreviation
    r"|(?<![\w.])[^\W\d_]"                            # an initial: "J. Smith"
    r"|^[\"'(\[]*\d{1,3})[.]$"                        # the number of an item: "3. Close the file."
)
_GOES_ON_BEFORE_NUMBER = re.compile(rf"(?<!\w)(?:{_COUNTED})[.]$")


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of one paragraph, in order, with white space (line ends too) made single blanks.

    Only the white space between sentences is lost.  Text without any full stop is one sentence;
    blank text is none.
    """
    text = " ".join(paragraph.split())
    sentences = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        sentence, following = text[start:match.end()].rstrip(), text[match.end():match.end() + 1]
        if following and not _ends(sentence, following):
            continue
        sentences.append(sentence)
        start = match.end()
    rest = text[start:]
    if sentences and rest and not any(map(str.isalnum, rest)):   # a stray ")." ends what came before
        sentences[-1] += " " + rest
    elif rest:
        sentences.append(rest)
    return sentences


def _ends(sentence: str, following: str) -> bool:
    """Whether a sentence ends between its full stop and the `following` character."""
    if following.islower():
        return False
    if not any(map(str.isalnum, sentence)):   # a lone "..." or ")" belongs to what comes next
        return False
    if _GOES_ON.search(sentence):
        return False
    return not (following.isdigit() and _GOES_ON_BEFORE_NUMBER.search(sentence))
