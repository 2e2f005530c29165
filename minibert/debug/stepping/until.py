"""Where to stop: at an operation, in a part of the model, at a NaN, at a norm, in a phase."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from minibert.debug.stepping.event import BACKWARD, FORWARD, Event
from minibert.errors import InputError
from minibert.graph import Node

HINT = "write an operation, a part of a module's path, 'layer 1', 'nan', 'norm>10', 'forward' or 'backward'"


@dataclass(frozen=True)
class Condition:
    """All that is given must hold.

    what: the name of an operation; where the graph has none of this name, a module path or a part of one.
    layer: a number in the module's path.  nan: any number that is shown is NaN or infinite.
    norm: the output, or a gradient, has a larger norm.  phase: "forward" or "backward".
    """

    what: str = ""
    layer: int | None = None
    nan: bool = False
    norm: float | None = None
    phase: str = ""

    @classmethod
    def read(cls, text: str, **more: Any) -> "Condition":
        """From words, such as "backward attention" or "layer 1 norm>10", and from fields.

        Raises InputError for what makes no sense, and when nothing is asked for.
        """
        found: dict[str, Any] = {}

        def take(pattern: str, name: str, kind: Any) -> None:
            nonlocal text
            match = re.search(rf"(?<!\S)(?:{pattern})(?!\S)", text)
            if match:
                found[name] = kind(match[1])
                text = text[:match.start()] + text[match.end():]

        take(r"layer ?=? ?(\d+)", "layer", int)
        take(r"norm ?> ?([\d.]+(?:e[+-]?\d+)?)", "norm", _number)
        take(r"(nan)", "nan", bool)
        take(rf"({FORWARD}|{BACKWARD})", "phase", str)
        words = text.split()
        if len(words) > 1:
            raise InputError(f"cannot read {' '.join(words)!r} as one name: {HINT}")
        condition = replace(cls(words[0] if words else "", **found), **more)
        if condition == cls():
            raise InputError(f"until what? {HINT}")
        if condition.phase not in ("", FORWARD, BACKWARD):
            raise InputError(f"a phase is {FORWARD!r} or {BACKWARD!r}, not {condition.phase!r}")
        return condition

    def check_names(self, nodes: Sequence[Node]) -> None:
        """Raise InputError when no operation and no module of these is meant."""
        if not any(self.fits(node, nodes) for node in nodes):
            names = {node.op.name for node in nodes} | {node.module for node in nodes if node.module}
            near = get_close_matches(self.what, names, 3, 0.5) if self.what else []
            hint = f"did you mean {' or '.join(near)}" if near else (
                f"the operations are {', '.join(sorted({node.op.name for node in nodes}))}")
            asked = str(Condition(self.what, self.layer))
            raise InputError(f"there is no operation and no module {asked!r} in this graph: {hint}")

    def fits(self, node: Node, nodes: Sequence[Node]) -> bool:
        """Whether the operation is meant, whatever its numbers are."""
        if self.layer is not None and not _has_part(node.module, f"layer.{self.layer}"):
            return False
        if any(other.op.name == self.what for other in nodes):
            return node.op.name == self.what
        return not self.what or _has_part(node.module, self.what)

    def holds(self, event: Event) -> bool:
        """Whether the numbers are such."""
        return (not self.nan or bool(event.not_finite)) and (self.norm is None or event.norm > self.norm)

    def __str__(self) -> str:
        parts = [self.phase, self.what, f"layer {self.layer}" if self.layer is not None else "", "nan" * self.nan,
                 f"norm>{self.norm:g}" if self.norm is not None else ""]
        return " ".join(part for part in parts if part)


def _has_part(module: str, part: str) -> bool:
    return f".{part.strip('.')}." in f".{module}."


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"cannot read {text!r} as a number: {HINT}") from None
