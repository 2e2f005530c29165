"""Formulas of the registry: as text for a terminal, as MathML for a page, and as numbers for tests."""

from minibert.debug.formula.evaluate import evaluate
from minibert.debug.formula.mathml import as_mathml
from minibert.debug.formula.parser import parse
from minibert.debug.formula.text import as_text

__all__ = ["as_mathml", "as_text", "evaluate", "parse"]
