"""A live graph as a picture: its blocks on one page, or every operation of a part of it.

    draw_graph(loss)                                                            # in a notebook, it shows itself
    draw_graph(loss, level="op", module="bert.encoder.layer.0.attention", gradients=True).save("attention.svg")
"""

from dataclasses import dataclass
from pathlib import Path

from minibert.debug.execution import Execution
from minibert.debug.pictures.block_graph import block_graph
from minibert.debug.pictures.nested import MARGIN, draw
from minibert.debug.pictures.op_graph import op_graph
from minibert.debug.pictures.svg import LINE_HEIGHT, Text, document, line, text, text_width
from minibert.debug.pictures.wires import Key, Scale
from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.tensor import Tensor

LEVELS = ("block", "op")
TITLE, SAMPLE = 24.0, 26.0  # the height of the title; the length of a line in the legend


@dataclass(frozen=True)
class GraphPicture:
    """A picture that a notebook shows by itself.  svg: its text."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Write an .svg file, which browsers open."""
        write_atomically(Path(path), self.svg.encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


def draw_graph(loss: Tensor, level: str = "block", module: str = "", gradients: bool = False) -> GraphPicture:
    """The graph that `loss` was computed by, from top to bottom; tooltips have formulas, gradients and names.

    level: "block" shows sub-layers, heads, residual connections and tied parameters; "op" every operation and
    parameter, with the shape of what each hands on.  module: the path of a module, such as
    bert.encoder.layer.0.attention, to which "op" keeps; what lies around it is dashed.
    gradients: lines are the darker and wider, the larger (by root mean square) the gradient that flows back there.
    Raises InputError for an unknown level or module, and when there is no graph.
    """
    if level not in LEVELS:
        raise InputError(f"a graph is drawn at one of the levels {', '.join(LEVELS)}, not at {level!r}")
    if module and level != "op":
        raise InputError('only single operations are drawn of one module: add level="op"')
    execution = Execution(loss)
    scale = Scale.of(execution) if gradients else None
    graph = op_graph(execution, scale, module) if level == "op" else block_graph(execution, scale)
    width, height, parts = draw(graph.items, graph.wires, graph.panels)
    title = Text(graph.title, weight="bold")
    legend_width, legend = _legend(graph.legend, text_width(title.text) + 3 * MARGIN)
    drawing = f'<g transform="translate({max((legend_width - width) / 2, 0.0):.1f} {TITLE:.0f})">{"".join(parts)}</g>'
    heading = text(MARGIN, LINE_HEIGHT + 3, title, "start")
    return GraphPicture(document(max(width, legend_width), height + TITLE, [heading, *legend, drawing]))


def _legend(keys: list[Key], x: float) -> tuple[float, list[str]]:
    """Lines and what they mean, side by side from x on."""
    parts = []
    for key in keys:
        parts += [line(x, LINE_HEIGHT, SAMPLE, key.colour, key.width),
                  text(x + SAMPLE + 5, LINE_HEIGHT + 3, Text(key.meaning), "start")]
        x += SAMPLE + text_width(key.meaning) + 3 * MARGIN
    return x, parts
