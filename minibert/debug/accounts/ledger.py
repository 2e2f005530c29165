"""What a forward and a backward pass cost: the memory of every saved array and why it is kept, and the arithmetic.

    print(ledger(loss))                                               # by operation
    print(ledger(lambda: model(**batch).loss, measured=True))         # and the predicted peak against a real one
"""

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from textwrap import fill
from typing import Any, NamedTuple

from minibert.debug.accounts.costs import Cost, add_costs, arrays, cost
from minibert.debug.accounts.liveness import Moment, allocated, given_memory, moments, new_bytes, on_gpu
from minibert.debug.accounts.reasons import reason
from minibert.debug.execution import Execution
from minibert.debug.html import FONT, html_table, span
from minibert.debug.pictures.blocks import LAYER, part_of
from minibert.debug.show import table, width
from minibert.errors import InputError
from minibert.graph import Node
from minibert.tensor import Tensor

HEADERS = ("calls", "saves", "share", "forward", "backward", "moves")
REASONS = ("saved array", "bytes", "why backward needs it")


class Saved(NamedTuple):
    """One array that a node keeps for its backward.

    bytes: 0 where its memory was counted before, for another node, or is a parameter's or the batch's.
    """

    node: Node
    name: str
    shape: tuple[int, ...]
    bytes: int
    why: str


class Entry(NamedTuple):
    """One operation of the graph."""

    node: Node
    name: str
    saved: list[Saved]
    cost: Cost

    @property
    def bytes(self) -> int:
        """What the operation adds to the memory that is kept between forward and backward."""
        return sum(saved.bytes for saved in self.saved)


KEYS: dict[str, Callable[[Entry], str]] = {
    "op": lambda entry: entry.node.op.name, "module": lambda entry: part_of(entry.node).title,
    "node": lambda entry: entry.name}


@dataclass(frozen=True)
class Ledger:
    """The entries of a graph, in the order of its forward pass, and what is alive at each moment of both passes.

    by: how the table is grouped, one of KEYS.  measured: the peak of a real forward and backward pass, in bytes.
    recomputation: what `encoder.recompute` would free, in a sentence; empty where there are no layers.
    on_gpu: where an operation's own memory is not seen, but for what it returns.
    """

    entries: list[Entry]
    moments: list[Moment]
    recomputation: str
    by: str = "op"
    measured: int | None = None
    on_gpu: bool = False

    @property
    def saved(self) -> int:
        """Bytes kept between forward and backward, without parameters and batch."""
        return sum(entry.bytes for entry in self.entries)

    @property
    def peak(self) -> Moment:
        """The moment at which most memory is predicted to be alive."""
        return max(self.moments, key=lambda moment: moment.peak)

    def rows(self, by: str | None = None) -> list[tuple[Any, ...]]:
        """(name, *HEADERS) for each group, the one that saves most first, and the total."""
        groups: dict[str, list[Entry]] = {}
        for name, entry in self.named_entries(by):
            groups.setdefault(name, []).append(entry)
        rows = sorted(groups.items(), key=lambda row: -sum(entry.bytes for entry in row[1]))
        return [self._row(name, entries) for name, entries in [*rows, ("total", self.entries)]]

    def named_entries(self, by: str | None = None) -> list[tuple[str, Entry]]:
        """Every entry with the name of its group."""
        key = KEYS[check_grouping(by or self.by)]
        return [(key(entry), entry) for entry in self.entries]

    def reasons(self) -> list[tuple[str, str, str]]:
        """What each operation saves, summed over its calls, and why: the largest first."""
        bytes_of: dict[tuple[str, str], int] = {}
        for saved in (saved for entry in self.entries for saved in entry.saved):
            key = f"{saved.node.op.name}: {saved.name}", saved.why
            bytes_of[key] = bytes_of.get(key, 0) + saved.bytes
        return [(name, size_text(total), why)
                for (name, why), total in sorted(bytes_of.items(), key=lambda item: -item[1])]

    def sentences(self) -> list[str]:
        """What is alive at the peak, as predicted and as measured."""
        peak = self.peak
        alive = [f"{kind} {size_text(n)}" for kind, n in [*peak.alive.items(), ("its own", peak.inside)] if n]
        lines = [f"Predicted peak {size_text(peak.peak)}, in the {'forward' if peak.forward else 'backward'} of "
                 f"{peak.node.op.name}{f' in {peak.node.module}' if peak.node.module else ''}: {', '.join(alive)}."]
        if self.measured is not None:
            lines += [f"Measured peak  {size_text(self.measured)}: the prediction is off by "
                      f"{peak.peak / self.measured - 1.0:+.1%}. Python's own objects, about a kilobyte for each "
                      f"operation, are not predicted."]
        return lines + [ON_GPU] * self.on_gpu + [self.recomputation] * bool(self.recomputation)

    def figure(self) -> Any:
        """Saved bytes by group, and memory over time: a matplotlib Figure."""
        from minibert.debug.pictures.ledger_figure import ledger_figure

        return ledger_figure(self)

    def __str__(self) -> str:
        words = [fill(line, width(80)) for line in (NOTE, *self.sentences())]
        costs, saved = table(self.rows(), (self.by, *HEADERS)), table(self.reasons(), REASONS)
        return "\n\n".join([costs, words[0], saved, *words[1:]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        words = "".join(f"<p>{span(line)}</p>" for line in self.sentences())
        return (f'<div style="{FONT}">{html_table(self.rows(), (self.by, *HEADERS))}<p>{span(NOTE)}</p>'
                f"{html_table(self.reasons(), REASONS)}{words}</div>")

    def _row(self, name: str, entries: list[Entry]) -> tuple[Any, ...]:
        total, saved = add_costs(entry.cost for entry in entries), sum(entry.bytes for entry in entries)
        return (name, len(entries), size_text(saved), f"{saved / (self.saved or 1):.1%}",
                flops_text(total.forward_flops), flops_text(total.backward_flops), size_text(total.moved))


ON_GPU = ("On a GPU the memory that an operation takes for itself while it runs is not seen, and CuPy's pool keeps "
          "what was freed: the GPU shows more.")
NOTE = ("saves: kept for backward; memory that several share is counted once, parameters and batch not at all. "
        "forward, backward: operations in matrix products, exactly. moves: bytes read and written, by both.")


def ledger(loss: Tensor | Callable[[], Tensor], by: str = "op", measured: bool = False) -> Ledger:
    """The ledger of a graph, given its end, or a function that makes it, such as `lambda: model(**batch).loss`.

    by: "op", "module" or "node".  measured: run the function and its backward once more, and measure the peak; no
    parameter's `grad` is changed, but dropout moves on to the next step with every call.
    Raises InputError when there is no graph, or only one and it is to be measured, or one on a GPU.
    """
    check_grouping(by)
    if measured and isinstance(loss, Tensor):
        raise InputError("a graph that exists cannot be measured: pass a function that makes one, as in "
                         "ledger(lambda: model(**batch).loss, measured=True)")
    execution = Execution(loss() if callable(loss) else loss)
    if measured and on_gpu(execution):
        raise InputError("memory is measured on the CPU only: leave out measured=True, or see what CuPy's pool holds "
                         "by cupy.get_default_memory_pool().total_bytes()")
    entries = _entries(execution)
    peak = None if isinstance(loss, Tensor) or not measured else _measure(loss, execution)
    return Ledger(entries, moments(execution), _recomputation(execution, entries), by, peak, on_gpu(execution))


def check_grouping(by: str) -> str:
    """`by` itself.  Raises InputError when it is none of KEYS."""
    if by not in KEYS:
        raise InputError(f"a ledger is grouped by one of {', '.join(KEYS)}, not by {by!r}")
    return by


def _entries(execution: Execution) -> list[Entry]:
    seen, found = given_memory(execution), []
    for node in execution.nodes:
        saved = [Saved(node, name, x.shape, new_bytes([x], seen), reason(node.op, name))
                 for name, value in zip(node.op.saved, execution.saved[node], strict=True) for x in arrays([value])]
        found.append(Entry(node, execution.name(node), saved, cost(execution, node)))
    return found


def _measure(loss: Callable[[], Tensor], execution: Execution) -> int:
    """The most bytes that a forward and a backward pass had allocated, with every gradient made anew."""
    before = [(leaf, leaf.grad) for leaf in execution.leaves]
    for leaf, _ in before:
        leaf.grad = None
    gc.collect()
    try:
        return allocated(_forward_and_backward, loss)[1]
    finally:
        for leaf, grad in before:
            leaf.grad = grad


def _forward_and_backward(loss: Callable[[], Tensor]) -> None:
    end = loss()  # its graph lives as long as the name
    end.backward()


def _recomputation(execution: Execution, entries: list[Entry]) -> str:
    """What is kept if every layer keeps its input alone, and what that costs."""
    layers: dict[str, list[Entry]] = {}
    for entry in entries:
        layer = LAYER.match(entry.node.module)
        layers.setdefault(layer[1] if layer else "", []).append(entry)
    outside = layers.pop("", [])
    if not layers:
        return ""
    given = given_memory(execution)
    inputs = [execution.values[x] for inner in layers.values() for x in _inputs([entry.node for entry in inner])]
    kept = new_bytes([*_kept(execution, outside), *inputs], set(given))
    largest = max(new_bytes(_kept(execution, inner), set(given)) for inner in layers.values())
    total = add_costs(entry.cost for entry in entries)
    again = sum(entry.cost.forward_flops for inner in layers.values() for entry in inner)
    return (f"With encoder.recompute = True, {size_text(kept)} would be kept for backward instead of "
            f"{size_text(sum(entry.bytes for entry in entries))}, and one layer ({size_text(largest)} at most) made "
            f"anew at a time, for {again / (total.flops or 1):.0%} more arithmetic.")


def _kept(execution: Execution, entries: Iterable[Entry]) -> list[Any]:
    return [x for entry in entries for x in arrays(execution.saved[entry.node])]


def _inputs(nodes: list[Node]) -> set[Node]:
    """The nodes outside whose values these nodes use."""
    return {x for node in nodes for x in node.args if isinstance(x, Node)} - set(nodes)


def size_text(size: float) -> str:
    """Bytes in kB, MB or GB, which are 10^3, 10^6 and 10^9 bytes."""
    return _scaled(size, "B")


def flops_text(flops: float) -> str:
    """A number of floating-point operations."""
    return _scaled(flops, "FLOP") if flops else "-"


def _scaled(x: float, unit: str) -> str:
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= 0.9995 * factor:
            return f"{x / factor:.3g} {prefix}{unit}" if x < 999.5 * factor else f"{x / factor:.0f} {prefix}{unit}"
    return f"{x:.0f} {unit}"
