"""An event, the whole walk, and a page of both, as static HTML."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from minibert.debug.formulas import as_mathml
from minibert.debug.html import FONT, LINE, MUTED, heat, html_table, span
from minibert.debug.stepping.event import AFTER, BEFORE, FORWARD, SAVED, Event, Value, is_finite
from minibert.debug.stepping.text import about, places
from minibert.debug.stepping.view import Block, View, cut
from minibert.graph import Node
from minibert.summary import shape_text

if TYPE_CHECKING:
    from minibert.debug.stepping.stepper import Stepper

SANS = "font-family:system-ui,sans-serif;font-size:14px;color:#1f2328;background:#ffffff;max-width:900px"
PHASES = {FORWARD: "#2da44e", "backward": "#bf5b04"}
CELL = f"padding:4px 8px;border-top:1px solid {LINE};text-align:left;vertical-align:top"
WRONG = "color:#cf222e;font-weight:600"


def event_html(event: Event) -> str:
    """One event with its title."""
    return f'<div style="{SANS}">{_title(event)}{_body(event)}</div>'


def stepper_html(stepper: "Stepper") -> str:
    """The walk as a strip, and the current event."""
    return f'<div style="{SANS}">{strip(stepper.nodes, stepper.number)}{event_html(stepper.event)}</div>'


def page_html(stepper: "Stepper", events: Iterable[Event]) -> str:
    """A whole page: the strip, and each event to be unfolded."""
    parts = [f'<details style="border-top:1px solid {LINE};padding:6px 0"><summary style="cursor:pointer">'
             f"{_title(event, 'span')}{_headline(event)}</summary>"
             f'<div style="padding:8px 0 16px 16px">{_body(event)}</div></details>' for event in events]
    loss = about(stepper.execution.values[stepper.execution.root])
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Forward and backward</title></head>'
            f'<body style="{SANS};margin:24px auto;padding:0 16px"><h1 style="font-size:22px">Forward and backward, '
            f"one operation at a time</h1><p>{len(stepper.nodes)} operations compute a loss of {loss}. Each has a step "
            f"in either phase: unfold it to see its formula and its numbers.</p>{strip(stepper.nodes, None)}"
            f"{''.join(parts)}</body></html>\n")


def strip(nodes: Sequence[Node], number: int | None) -> str:
    """The timeline: a column for each operation, above forward (left to right), below backward (right to left)."""
    groups, start = [], 0
    for part, group in groupby(nodes, key=_part_of_model):
        members = list(group)
        cells = "".join(_strip_cell(node, start + i, len(nodes), number) for i, node in enumerate(members))
        start += len(members)
        groups.append(f'<div style="flex:{len(members)} 1 0;min-width:0;margin-right:3px"><div style="display:flex">'
                      f'{cells}</div><div style="overflow:hidden;white-space:nowrap;text-overflow:ellipsis" '
                      f'title="{escape(part)}">{escape(part) if len(members) > 2 else ""}</div></div>')
    legend = span("forward →", f"color:{PHASES[FORWARD]}") + "<br>" + span("← backward", f"color:{PHASES['backward']}")
    return (f'<div style="display:flex;font-size:11px;line-height:14px;margin-bottom:10px;color:{MUTED}">'
            f'<div style="flex:none;width:76px">{legend}</div>'
            f'<div style="display:flex;flex:1;min-width:0">{"".join(groups)}</div></div>')


def _body(event: Event) -> str:
    """Where, the formula, the shapes, the numbers."""
    op = event.node.op
    facts = [("module", _code(event.node.module))] if event.node.module else []
    facts += [(name, _code(place)) for name, place in zip(("line", "called from"), places(event), strict=False)]
    facts += [("shapes", _code(op.shapes)), ("here", _code(event.shapes))]
    facts += [("with", _code(", ".join(event.settings)))] if event.settings else []
    facts += [("source", escape(op.source))] if op.source else []
    label = f"padding:1px 12px 1px 0;color:{MUTED};vertical-align:top;white-space:nowrap;text-align:left"
    rows = "".join(f'<tr><td style="{label}">{escape(name)}</td><td style="padding:1px 0;text-align:left">{text}</td>'
                   f"</tr>" for name, text in facts)
    values = "".join(_value_row(value, event.view) for value in event.values)
    return (f'<div style="font-size:17px;margin:6px 0;padding:6px 0;overflow-x:auto">{as_mathml(event.formula)}</div>'
            f'<table style="border-collapse:collapse;font-size:13px">{rows}</table>'
            f'<table style="border-collapse:collapse;margin-top:10px;width:100%">{values}</table>')


def _strip_cell(node: Node, i: int, n: int, number: int | None) -> str:
    """The two steps of one operation; those already taken are darker, the current one is black."""
    cells = []
    for step, colour in ((i + 1, PHASES[FORWARD]), (2 * n - i, PHASES["backward"])):
        shade = "#1f2328" if step == number else colour
        opacity = 1.0 if number is None or step <= number else 0.25
        cells.append(f'<div style="height:12px;margin:0 1px 2px 0;background:{shade};opacity:{opacity}" '
                     f'title="step {step}: {escape(node.op.name)} {escape(node.module)}"></div>')
    return f'<div style="flex:1 1 0;min-width:1px">{"".join(cells)}</div>'


def _part_of_model(node: Node) -> str:
    """A layer, or what stands beside the layers."""
    layer = re.search(r"\blayer\.\d+", node.module)
    parts = node.module.split(".")
    return layer[0].replace(".", " ") if layer else parts[min(1, len(parts) - 1)]


def _title(event: Event, tag: str = "div") -> str:
    place = span(f"{event.number}/{event.count}", f"color:{MUTED}")
    phase, name = span(event.phase, f"color:{PHASES[event.phase]}"), span(event.node.op.name, "font-weight:600")
    return f"<{tag}>{place} {phase} {name}</{tag}>"


def _headline(event: Event) -> str:
    """What the folded line of an event says beside its title."""
    wrong = f" NaN or infinity in {', '.join(event.not_finite)}" if event.not_finite else ""
    return f" {span(event.node.module, f'color:{MUTED}')}{span(wrong, WRONG)}"


def _value_row(value: Value, view: View) -> str:
    """Name, what is known about it, and some numbers on a background that shows sign and size."""
    name = {SAVED: f"uses {value.label}", BEFORE: "before", AFTER: "after"}.get(value.role, value.label)
    indent = "padding-left:24px;" if value.role in (BEFORE, AFTER) else ""
    muted = f"color:{MUTED};" if value.role in (SAVED, BEFORE, AFTER) else "font-weight:600;"
    known = span(about(value.array), "" if is_finite(value.array) else WRONG)
    note = f"<br>{span(value.note, f'color:{MUTED};overflow-wrap:anywhere')}" if value.note else ""
    numbers = "" if value.array.size < 2 or value.role == SAVED else _numbers(cut(value.array, view))
    return (f'<tr><td style="{CELL};white-space:nowrap;{FONT};{muted}{indent}">{escape(name)}</td>'
            f'<td style="{CELL};{FONT};white-space:nowrap">{shape_text(value.array.shape)}</td>'
            f'<td style="{CELL};font-size:13px;width:99%">{known}{note}{numbers}</td></tr>')


def _numbers(block: Block) -> str:
    scale = max((abs(x) for row in block.rows for x in row if isinstance(x, float) and abs(x) < float("inf")),
                default=0.0)
    styles = [[_heat(x, scale) for x in row] for row in block.rows]
    return (f'<div style="display:flex;align-items:center;margin-top:4px;overflow-x:auto">'
            f"{span(block.place, f'color:{MUTED};{FONT};margin-right:8px;white-space:nowrap')}"
            f"{html_table(block.rows, styles=styles)}</div>")


def _heat(x: Any, scale: float) -> str:
    return (WRONG if x != x or abs(x) == float("inf") else heat(x, scale)) if isinstance(x, float) else ""


def _code(text: str) -> str:
    return span(text, f"{FONT};white-space:pre-wrap;overflow-wrap:anywhere")
