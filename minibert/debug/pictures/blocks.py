"""The parts of a model that a picture shows as one: a sub-layer, a head, a loss."""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from minibert.graph import Node
from minibert.nn.recompute import RECOMPUTE

LAYER = re.compile(r"(?:.*\.)?layer\.(\d+)(?:\.(.*))?$")
PARTS = {"embeddings": ("embeddings", "embedding"), "pooler": ("pooler", "head"),
         "predictions": ("masked-word head", "head"), "seq_relationship": ("next-sentence head", "head")}
SUMS = {"add_norm": "add & norm", "add": "add"}  # where a residual connection ends
RESIDUAL_INPUTS = {("add_norm", 1), ("add", 0)}  # and which of their inputs it is


class Part(NamedTuple):
    """What a node belongs to.  key: equal for the nodes that are shown as one.  kind: it has a colour of its own."""

    key: Hashable
    title: str
    kind: str


def part_of(node: Node) -> Part:
    """The sub-layer, head or loss in which an operation was called; otherwise its module, or itself."""
    layer = LAYER.match(node.module)
    if layer:
        return _part_of_layer(node, f"layer {layer[1]}", layer[2] or "")
    if node.op is RECOMPUTE:
        return Part(node, "recomputed part", "recompute")
    for name in node.module.split("."):
        if name in PARTS:
            title, kind = PARTS[name]
            return Part(title, title, kind)
    if node.module:
        title = ".".join(node.module.split(".")[-2:])
        return Part(title, title, "other")
    return Part(node, node.op.name, "loss" if node.op.name == "cross_entropy" else "other")


def _part_of_layer(node: Node, layer: str, rest: str) -> Part:
    """A layer is drawn as two functions and the two sums that its residual connections lead to."""
    attention = rest.startswith("attention")
    function, kind = ("self-attention", "attention") if attention else ("feed-forward", "feed-forward")
    if node.op.name in SUMS:
        return Part((layer, function, "sum"), f"{layer}: {function}, {SUMS[node.op.name]}", "sum")
    if node.op.name == "getitem" and rest == "attention":
        return Part((layer, "picked"), f"{layer}: positions read", "other")
    return Part((layer, function), f"{layer}: {function}", kind)


@dataclass(eq=False)
class Group:
    """Operations that are drawn as one, or within one frame."""

    title: str
    kind: str
    nodes: list[Node] = field(default_factory=list)
    sources: list["Group"] = field(default_factory=list)

    @property
    def output(self) -> Node:
        """The last operation, whose value leaves the group."""
        return self.nodes[-1]


def group(nodes: Sequence[Node], part: Callable[[Node], Part] = part_of) -> dict[Node, Group]:
    """The group of each node, given each after those it was computed from.

    Nodes of equal key share a group unless a path would leave it and come back: a picture of groups has no cycles.
    """
    groups: dict[Hashable, Group] = {}
    found: dict[Node, Group] = {}
    for node in nodes:
        key, title, kind = part(node)
        sources = [found[x] for x in node.inputs if isinstance(x, Node) and x in found]
        mine = groups.get(key)
        if mine is None or any(_reaches(mine, source) for source in sources if source is not mine):
            mine = groups[key] = Group(title, kind)
        mine.nodes.append(node)
        mine.sources += [source for source in sources if source is not mine and source not in mine.sources]
        found[node] = mine
    return found


def _reaches(start: Group, end: Group) -> bool:
    """Whether `end` was computed from `start`."""
    seen, left = set(), [end]
    while left:
        now = left.pop()
        if now is start:
            return True
        if now not in seen:
            seen.add(now)
            left += now.sources
    return False
