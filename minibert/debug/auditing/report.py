"""What the doctor found, as a list in a terminal and as a table in a notebook."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from minibert.debug.auditing.finding import Finding
from minibert.debug.html import FONT, LINE, MUTED
from minibert.debug.show import paint

MARKS = {"ok": ("✓", "green", "#1a7f37"), "problem": ("✗", "red", "#b5342c"), "note": ("•", "yellow", "#9a6700"),
         "skipped": ("-", "dim", MUTED)}
ISSUE = re.compile(r"([\w.-]+/[\w.-]+) #(\d+)")


@dataclass(frozen=True)
class Report:
    """The findings of one examination, in the order of the checks."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that say that something is wrong."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"there is no check {name!r} in this report; it has {', '.join(f.name for f in self.findings)}")

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def summary(self) -> str:
        """For instance "17 checks, 2 problems, 3 skipped"."""
        counts = Counter(finding.status for finding in self.findings)
        parts = [_count(len(self), "check"), _count(counts["problem"], "problem").replace("0 ", "no ")]
        parts += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
        return ", ".join(parts)

    def render(self, columns: int = 80, colour: bool = False) -> str:
        """One entry for each check; a problem also says why it matters and where it was seen."""
        margin = max((len(finding.name) for finding in self.findings), default=0) + 4
        lines = [paint(self.title, "bold", colour)]
        for finding in self.findings:
            mark, style, _ = MARKS[finding.status]
            head = f"{mark} {finding.name}".ljust(margin)
            text = textwrap.fill(finding.what, columns, initial_indent=head, subsequent_indent=" " * margin,
                                 break_on_hyphens=False)
            lines.append(paint(text, style, colour and finding.status != "ok"))
            for label, words in _explanation(finding):
                lines.append(textwrap.fill(words, columns, initial_indent=" " * margin + label + ": ",
                                           subsequent_indent=" " * (margin + 2), break_on_hyphens=False))
        lines.append(paint(self.summary, "bold", colour))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"title": self.title, "ok": self.ok, "findings": [finding.to_dict() for finding in self.findings]}

    def _repr_html_(self) -> str:
        rows = "".join(_html_row(finding) for finding in self.findings)
        return (f'<div style="max-width:900px"><div style="{FONT};font-weight:bold;padding:4px 8px">'
                f"{escape(self.title)}: {escape(self.summary)}</div>"
                f'<table style="border-collapse:collapse;{FONT}"><tbody>{rows}</tbody></table></div>')


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _explanation(finding: Finding) -> list[tuple[str, str]]:
    """The lines that only a problem needs."""
    lines = [("why it matters", finding.why), ("seen in", finding.seen_in)] if finding.status == "problem" else []
    return [(label, words) for label, words in lines if words]


def _html_row(finding: Finding) -> str:
    mark, _, colour = MARKS[finding.status]
    style = f"text-align:left;vertical-align:top;padding:3px 8px;border-top:1px solid {LINE}"
    text = [escape(finding.what)] + [f'<span style="color:{MUTED}">{label}: {_linked(words)}</span>'
                                     for label, words in _explanation(finding)]
    return (f'<tr><td style="{style};color:{colour}">{mark}</td>'
            f'<td style="{style};white-space:nowrap;color:{colour}">{escape(finding.name)}</td>'
            f'<td style="{style}">{"<br>".join(text)}</td></tr>')


def _linked(text: str) -> str:
    """Escaped text in which each bug report is a link to it."""
    return ISSUE.sub(r'<a href="https://github.com/\1/issues/\2">\1 #\2</a>', escape(text))
