"""Take the sections of a NumPy docstring apart, so that only its sentences are left.

    Parameters
    ----------
    a : array_like            <- an entry: a name and a type, no sentence
        Input array.          <- its description: this is kept
"""

import re

_UNDERLINE = re.compile(r"-{3,}\s*")
_WITH_ENTRIES = {
    "Parameters", "Other Parameters", "Returns", "Return", "Yields", "Receives", "Raises", "Warns",
    "Attributes", "Methods",
}
_WITHOUT_PROSE = {"See Also", "References"}


def descriptions(docstring: str) -> str:
    """The docstring without section headings, entries, cross-references and citations.

    The description of an entry is moved to the left margin as a paragraph of its own.  A docstring
    without such sections comes back unchanged.
    """
    lines = docstring.split("\n")
    section = ""
    kept = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if _UNDERLINE.fullmatch(following) and line.strip() and not line.startswith(" "):
            section = line.strip()
            kept.append("")
        elif section in _WITHOUT_PROSE or (section and _UNDERLINE.fullmatch(line)):
            kept.append("")
        elif section in _WITH_ENTRIES:
            kept.append(line[4:] if line.startswith("    ") else "")
        else:
            kept.append(line)
    return "\n".join(kept)
