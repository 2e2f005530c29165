r"""The formulas of the notebooks as MathML, which browsers draw without a script.

What latex2mathml does not know is done here: \tag, and lines of `aligned`.
"""

import re

from minibert.errors import InputError
from minibert.lab.building import needed

TAG = re.compile(r"\\tag\{([^}]*)\}")
ALIGNED = re.compile(r"^\s*\\begin\{aligned\}(.*)\\end\{aligned\}\s*$", re.DOTALL)
WORD = re.compile(r"\\mathrm\{([A-Za-z]{2,})\}")
UNKNOWN = re.compile(r"\\[A-Za-z]+|>&<")


def inline(latex: str) -> str:
    """A formula in a line of text.  Raises InputError for a command that is not known."""
    return f"<math>{_inside(latex, 'inline')}</math>"


def display(latex: str) -> str:
    """A formula in a line of its own, with its tag at the right.  Raises InputError for what is not known."""
    tag = TAG.search(latex)
    bare = TAG.sub("", latex)
    aligned = ALIGNED.match(bare)
    inside = _lines(aligned.group(1)) if aligned else _inside(bare)
    beside = f'<span class="tag">({tag.group(1)})</span>' if tag else ""
    return (f'<div class="equation"><span class="formula"><math display="block">{inside}</math></span>{beside}</div>\n')


def _lines(latex: str) -> str:
    """Lines whose parts stand below each other: the first to the right, the second to the left, and so on."""
    rows = []
    for line in latex.split(r"\\"):
        if line.strip():
            cells = "".join(
                f'<mtd style="text-align:{"left" if i % 2 else "right"};padding:6px 2px">'
                f'<mstyle displaystyle="true">{_inside(cell) if cell.strip() else ""}</mstyle></mtd>'
                for i, cell in enumerate(line.split("&")))
            rows.append(f"<mtr>{cells}</mtr>")
    return f"<mtable>{''.join(rows)}</mtable>"


def _inside(latex: str, kind: str = "block") -> str:
    """What stands between the tags of a `math` element."""
    needed("latex2mathml")
    from latex2mathml.converter import convert

    try:
        element = convert(WORD.sub(r"\\operatorname{\1}", latex), display=kind)
    except Exception as error:  # the library's own exceptions have no common class
        raise InputError(f"cannot read the formula {latex!r}: {type(error).__name__} {error}") from error
    unknown = UNKNOWN.search(element)
    if unknown:
        raise InputError(f"the formula {latex!r} has {unknown.group()!r}, which is not known here")
    element = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", element)  # names, without an operator's space
    return re.sub(r"^<math[^>]*>|</math>$", "", element)
