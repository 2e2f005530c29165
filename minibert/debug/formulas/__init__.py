"""Formulas of the registry: as text for a terminal, as MathML for a page, and as numbers for tests."""

from minibert.debug.formulas.evaluate import evaluate
from minibert.debug.formulas.mathml import as_mathml
from minibert.debug.formulas.parser import parse
from minibert.debug.formulas.text import as_text

__all__ = ["as_mathml", "as_text", "evaluate", "parse"]
