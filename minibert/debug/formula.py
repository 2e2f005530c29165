"""Formulas of the registry, as text for a terminal and as MathML for a page."""


def as_text(latex: str) -> str:
    """One line of Unicode."""
    return latex


def as_mathml(latex: str) -> str:
    """A `math` element, which browsers draw without any library."""
    return f"<math><mtext>{latex}</mtext></math>"
