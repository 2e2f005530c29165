"""Every operation of a graph, or of one module, in the frames of the modules that called them."""

import difflib

from minibert.debug.execution import Execution, Use, input_name
from minibert.debug.pictures.blocks import Part, group, part_of
from minibert.debug.pictures.nested import Item, Panel
from minibert.debug.pictures.svg import MUTED, Text
from minibert.debug.pictures.wires import COLOURS, Graph, Scale, about, wire
from minibert.errors import InputError
from minibert.graph import Node, Source
from minibert.summary import shape_text
from minibert.tensor import Tensor


def op_graph(execution: Execution, scale: Scale | None, module: str) -> Graph:
    """Operations and parameters inside `module` ("" for all), and the operations around it that they meet."""
    inside = [node for node in execution.nodes if _is_inside(node, module)]
    if not inside:
        raise _unknown(execution, module)
    own = {x for node in inside for x in node.inputs if isinstance(x, Tensor)} | set(inside)
    uses = [(x, use) for x, found in execution.uses.items() for use in found if x in own or use[0] in own]
    around = dict.fromkeys(y for x, use in uses for y in (x, use[0]) if y not in own)
    graph = Graph(f"{len(inside)} operations" + f" of {module}" * bool(module), legend=scale.legend() if scale else [])
    used = {x for x, _ in uses}
    graph.items = {x: _item(execution, x, scale, x in used) for x in execution.order if x in own}
    graph.items |= {x: _stub(execution, x, scale, x in used) for x in around}
    order = {node: i for i, node in enumerate(execution.order)}
    graph.wires = [wire(x, use[0], [use], scale, _about_use(execution, x, use))
                   for x, use in sorted(uses, key=lambda found: (order[found[1][0]], found[1][1]))]
    graph.panels = [*_frames(execution, inside, module), *(Panel([x]) for x in around)]
    graph.panels += [Panel([x]) for x in graph.items if not any(x in panel.members for panel in graph.panels)]
    return graph


def _is_inside(node: Node, module: str) -> bool:
    return not module or node.module == module or node.module.startswith(module + ".")


def _unknown(execution: Execution, module: str) -> InputError:
    paths = {".".join(path[:i]) for path in (node.module.split(".") for node in execution.nodes)
             for i in range(1, len(path) + 1)}
    near = difflib.get_close_matches(module, sorted(paths - {""}), 1, 0.0)
    hint = f"did you mean {near[0]!r}?" if near else "its operations were called outside any module"
    return InputError(f"this graph has no operation in a module {module!r}: {hint}")


def _frames(execution: Execution, inside: list[Node], module: str) -> list[Panel]:
    """A frame for each module, with the parameters that nobody else uses."""
    home = group(inside, lambda node: Part(node.module or node, node.module, part_of(node).kind))
    panels = []
    for frame in dict.fromkeys(home.values()):
        leaves = [x for node in frame.nodes for x in node.inputs if isinstance(x, Tensor)
                  and all(home.get(user) is frame for user, _ in execution.uses[x])]
        label = frame.title.removeprefix(module).removeprefix(".").removeprefix("bert.encoder.") or frame.title
        panels.append(Panel(list(dict.fromkeys([*leaves, *frame.nodes])), label, "#fafbfc", COLOURS[frame.kind][1]))
    return panels


def _item(execution: Execution, x: Source, scale: Scale | None, used: bool) -> Item:
    kind = part_of(x).kind if isinstance(x, Node) else "parameter"
    name = execution.name(x)
    line = Text(x.op.name, weight="bold") if isinstance(x, Node) else Text(_short(name, execution.uses[x][0][0].module))
    fill, stroke = COLOURS[kind]
    return Item(name, [line], shape_text(x.shape) if used else "", fill, stroke, about(execution, x, scale))


def _short(name: str, module: str) -> str:
    """A parameter's last name, and the one before where that says something new in this module."""
    *_, parent, last = ["", *name.split(".")]
    return last if module.endswith(parent) else f"{parent}.{last}"


def _stub(execution: Execution, x: Source, scale: Scale | None, used: bool) -> Item:
    """Something outside the module that is drawn."""
    name = execution.name(x)
    module, _, op = name.removeprefix("bert.").removeprefix("encoder.").rpartition(":")
    lines = [Text(part, MUTED) for part in (module, op) if part]
    return Item(name, lines, shape_text(x.shape) if used else "", title=about(execution, x, scale), dashed=True)


def _about_use(execution: Execution, x: Source, use: Use) -> str:
    return f"{execution.name(x)}\n{shape_text(x.shape)}, {input_name(*use)} of {execution.name(use[0])}"
