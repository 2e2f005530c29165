"""One check and what it found."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

Status = Literal["ok", "problem", "note", "skipped"]
Subject = TypeVar("Subject")


class Verdict(NamedTuple):
    """What a check says; the check itself knows the rest of a `Finding`."""

    status: Status
    what: str
    evidence: dict[str, Any]


def ok(what: str, **evidence: Any) -> Verdict:
    """Nothing is wrong."""
    return Verdict("ok", what, evidence)


def problem(what: str, **evidence: Any) -> Verdict:
    """Something is wrong."""
    return Verdict("problem", what, evidence)


def note(what: str, **evidence: Any) -> Verdict:
    """Nothing is wrong, but it is worth a look."""
    return Verdict("note", what, evidence)


def skipped(what: str, **evidence: Any) -> Verdict:
    """The check could not be made; `what` says what it needs."""
    return Verdict("skipped", what, evidence)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    what: the outcome in a sentence.  why: what goes wrong in training when the check fails.
    seen_in: public bug reports of this fault, "owner/repository #number", separated by commas.
    evidence: the numbers behind `what`, by name.
    """

    name: str
    status: Status
    what: str
    why: str = ""
    seen_in: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, which has no NaN and no infinity: None stands for them."""
        return {**asdict(self), "evidence": plain(self.evidence)}


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A question about a subject, and why it is asked.  Called, it returns a `Finding` and raises nothing."""

    name: str
    why: str
    seen_in: str
    look: Callable[[Subject], Verdict]

    def __call__(self, subject: Subject) -> Finding:
        try:
            verdict = self.look(subject)
        except Exception as error:  # a model that fails here is what the report is about
            verdict = problem(f"the check was stopped by {type(error).__name__}: {error}")
        return Finding(self.name, verdict.status, verdict.what, self.why, self.seen_in, verdict.evidence)


def check(name: str, why: str, seen_in: str = "") -> Callable[[Callable[[Subject], Verdict]], Check[Subject]]:
    """Make a `Check` of the function below it."""
    return lambda look: Check(name, why, seen_in, look)


def plain(value: Any) -> Any:
    """Numbers, texts, lists and dictionaries only."""
    if isinstance(value, dict):
        return {str(key): plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listed(names: Sequence[Any], most: int = 4) -> str:
    """Names in a sentence: the first few, and how many more."""
    shown = ", ".join(map(str, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
