"""The report: one Markdown file, a summary first."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from .page import FEW, Page, fenced
from .sections import Section


@dataclass
class Outcome:
    """A section that was run, or why it was not."""

    section: Section
    page: Page
    verdict: str
    seconds: float = 0.0
    log: str = ""  # what its process printed

    @property
    def sentence(self) -> str:
        """The section in a few words."""
        page, failures = self.page, len(self.page.failures)
        if self.verdict in ("skipped", "not run"):
            return page.skipped
        count = ""
        if failures:
            count = f"{failures} of {page.held + failures} checks failed: {shorten(page.failures[0], 160)}"
        return "; ".join(filter(None, [count, page.sentence])) or "it found nothing"


def markdown(outcomes: Sequence[Outcome], remarks: Sequence[str]) -> str:
    """The whole report."""
    lines = ["# minibert on a GPU", "", *(f"{remark}\n" for remark in remarks), "| section | verdict | s | what |",
             "| --- | --- | --: | --- |"]
    lines += [f"| {o.section.name} | {_strong(o.verdict)} | {o.seconds:.0f} | {o.sentence.replace('|', '/')} |"
              for o in outcomes]
    return "\n".join([*lines, "", *map(_section, outcomes)]) + "\n"


def _strong(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "FAILED" else verdict


def _section(outcome: Outcome) -> str:
    section, page = outcome.section, outcome.page
    parts = [f"## {section.name}: {section.title}", f"{_strong(outcome.verdict)} in {outcome.seconds:.1f} s. "
             f"Checks that held: {page.held}, that failed: {len(page.failures)}. {page.skipped}".strip()]
    if page.failures:
        parts.append("\n".join(f"- **failed**: {what}" for what in page.failures[:FEW]))
    if len(page.failures) > FEW:
        parts.append(f"... and {len(page.failures) - FEW} more.")
    parts += page.text
    if outcome.verdict == "FAILED" and outcome.log.strip():
        parts += ["The end of what it printed:", fenced(outcome.log[-4000:])]
    return "\n\n".join(parts) + "\n"
