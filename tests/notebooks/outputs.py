"""Whether a notebook gave what the committed one shows: the same text, and numbers but for rounding."""

import re
from typing import Any

NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w])", re.IGNORECASE)
MINUS = "\u2212"  # as matplotlib and our reports write it
RELATIVE, TINY = 1e-3, 1e-9  # numbers below TINY are rounding errors, which differ between machines


def text_outputs(notebook: Any) -> list[tuple[str, str]]:
    """The cell and the text of each output; pictures and HTML, which say the same otherwise, are left out."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            content = output.get("text") if output["output_type"] == "stream" else output["data"].get("text/plain", "")
            found.append((cell["id"], "".join(content)))
    return found


def differences(now: Any, committed: Any) -> list[str]:
    """What is different, in words."""
    mine, theirs = text_outputs(now), text_outputs(committed)
    if [cell for cell, _ in mine] != [cell for cell, _ in theirs]:
        return ["other cells have outputs"]
    return [f"{cell}: {a!r}, committed {b!r}" for (cell, a), (_, b) in zip(mine, theirs, strict=True)
            if not same(a, b)]


def same(a: str, b: str) -> bool:
    """Equal words, and numbers that are close or differ by one in the last digit that is printed."""
    if "".join(NUMBER.sub("#", a).split()) != "".join(NUMBER.sub("#", b).split()):
        return False
    return all(map(close, NUMBER.findall(a), NUMBER.findall(b)))


def close(a: str, b: str) -> bool:
    a, b = a.replace(MINUS, "-"), b.replace(MINUS, "-")
    if a == b:
        return True
    if not any("." in x or "e" in x.lower() for x in (a, b)):
        return False  # a count
    x, y = float(a), float(b)
    return abs(x - y) <= max(RELATIVE * abs(y), unit(b), TINY)


def unit(x: str) -> float:
    """One in the last digit that is printed."""
    mantissa, _, exponent = x.lower().partition("e")
    return 1.001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
