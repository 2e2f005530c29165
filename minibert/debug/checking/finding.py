"""What `bisect` has found."""

from dataclasses import dataclass

from minibert.debug.checking.comparison import CheckReport
from minibert.debug.html import FONT, span
from minibert.graph import Node


@dataclass(frozen=True)
class Finding:
    """The first wrong operation of a graph, or that there is none.

    kind: "ok"; "pair", an operation whose backward is not the slope of its forward; "fork", contributions that were
    not summed; "cut", something that moves the result and whose gradient does not know; "twin", an operation whose CUDA
    kernels compute other numbers than its formula.
    node: the operation: the wrong one, one that uses the forked value, or the one that was given a cut value; None
    where a parameter is cut at an unknown place.  input: the operation's input, the forked value, or the parameter.
    evidence: gradients beside slopes.  notes: what could not be decided.
    """

    kind: str
    headline: str
    node: Node | None = None
    input: str = ""
    details: tuple[str, ...] = ()
    evidence: CheckReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return self.kind == "ok"

    def assert_ok(self) -> None:
        """Raise AssertionError, with everything that was found, unless nothing was."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        evidence = [str(self.evidence)] if self.evidence else []
        return "\n".join([self.headline, *(f"  {line}" for line in self.details), *evidence,
                          *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        colour = "#1a7f37" if self.ok else "#cf222e"
        lines = "".join(f"<div>{span(line)}</div>" for line in (*self.details, *self.notes))
        evidence = self.evidence._repr_html_() if self.evidence else ""
        head = span(self.headline, f"color:{colour};font-weight:bold")
        return f'<div style="{FONT}"><div>{head}</div>{lines}{evidence}</div>'
