"""A model as its blocks: sub-layers, heads and losses, with residual connections and tied parameters."""

from minibert.debug.execution import Execution, Use
from minibert.debug.pictures.blocks import RESIDUAL_INPUTS, Group, group
from minibert.debug.pictures.nested import Item, Panel
from minibert.debug.pictures.svg import MUTED, Text
from minibert.debug.pictures.wires import COLOURS, PLAIN, RESIDUAL, TIED, Graph, Key, Scale, about, rms, wire
from minibert.graph import Node, Source
from minibert.summary import number, shape_text


def block_graph(execution: Execution, scale: Scale | None) -> Graph:
    """Every block once, and those parameters that two blocks use."""
    home = group(execution.nodes)
    graph = Graph(f"{len(execution.nodes)} operations in blocks")
    names: dict[str, int] = {}
    for block in dict.fromkeys(home.values()):
        names[block.title] = names.get(block.title, 0) + 1
        suffix = f" ({names[block.title]})" if names[block.title] > 1 else ""
        graph.items[block] = _item(execution, block, f"{block.title}{suffix}", scale)
    for x, uses in execution.uses.items():
        by_block: dict[Group, list[Use]] = {}
        for use in uses:
            by_block.setdefault(home[use[0]], []).append(use)
        if isinstance(x, Node):
            by_block.pop(home[x], None)
            for block, mine in by_block.items():
                _connect(graph, execution, scale, x, home[x], block, mine)
        elif len(by_block) > 1:
            graph.items[x] = _tied(execution, x, len(by_block), scale)
            graph.wires += [wire(x, block, mine, scale, about(execution, x), TIED) for block, mine in by_block.items()]
    graph.panels = [Panel([key]) for key in graph.items]
    graph.legend = scale.legend() if scale else _legend(graph)
    return graph


def _item(execution: Execution, block: Group, title: str, scale: Scale | None) -> Item:
    fill, stroke = COLOURS[block.kind]
    y = block.output
    lines = [Text(title, weight="bold"), Text(shape_text(y.shape) if y.shape else "one number", MUTED)]
    steps = [f"{node.op.name} {shape_text(node.shape)}" for node in block.nodes]
    if scale is not None:
        steps.append(f"rms of the gradient {number(rms(scale.gradients.of[y]))}")
    return Item(title, lines, fill=fill, stroke=stroke, title="\n".join(steps))


def _tied(execution: Execution, x: Source, uses: int, scale: Scale | None) -> Item:
    fill, stroke = COLOURS["parameter"]
    name = execution.name(x)
    lines = [Text(name.removeprefix("bert.")), Text(f"{shape_text(x.shape)}: one parameter, {uses} uses", MUTED)]
    return Item(name, lines, fill=fill, stroke=stroke, title=about(execution, x, scale))


def _connect(graph: Graph, execution: Execution, scale: Scale | None, x: Node, source: Group, target: Group,
             uses: list[Use]) -> None:
    residual = target.kind == "sum" and any((node.op.name, i) in RESIDUAL_INPUTS for node, i in uses)
    graph.wires.append(wire(source, target, uses, scale, about(execution, x), RESIDUAL if residual else PLAIN))


def _legend(graph: Graph) -> list[Key]:
    colours = {wire.colour for wire in graph.wires}
    keys = [Key("residual connection", RESIDUAL, 2.0), Key("tied parameter", TIED, 2.0)]
    return [key for key in keys if key.colour in colours]
