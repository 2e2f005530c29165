"""What a step needs of the GPU's memory, beside what the ledger says, and whether it grows."""

from contextlib import closing

from minibert.backend import cupy
from minibert.debug.accounts.room import SHARE, STATE, activations
from minibert.ops.cuda.blas import WORKSPACE

from .full_size import full_size_steps, settings_of, shape_of
from .options import Options
from .page import Page, cell

MANY, FEW = 200, 20  # steps: to the end, and before the first look
MIB = 1 << 20
SLACK = 2  # MiB, for gaps between small arrays, and for another process


def memory(page: Page, options: Options) -> None:
    """Peak, estimate and growth of BERT-base's step."""
    shape, many = shape_of(options), FEW + 5 if options.small else MANY
    xp, before = cupy(), _free()
    steps, batch = full_size_steps(shape)
    state = STATE * sum(p.size for p in steps.model.parameters())
    with closing(steps):
        looks = []
        for number in range(many):
            steps.take(batch, number, 1e-4)
            if number + 1 in (FEW, many):
                steps.finished()
                looks.append((_free(), xp.get_default_memory_pool().total_bytes(),
                              sum(graph.pool.total_bytes() for graph in steps.graphs.graphs.values())))
        (free, outside, inside), (free_later, *later) = looks
    config = settings_of(shape).model_config(shape.vocabulary)
    each = activations(type(steps.model)(config).train(), shape.length, 0.15)
    estimate, arena = state + shape.batch * each, 4 * steps.arena.w.nbytes
    page.table(("memory", "MiB"), [
        ("the ledger: weights, gradients, moments", state / MIB),
        ("the ledger: kept for backward", (estimate - state) / MIB),
        ("found: the arena", arena / MIB), ("found: all of the default pool", outside / MIB),
        ("found: the graphs' pools", inside / MIB), ("found: what the process took of the GPU", (before - free) / MIB),
        ("cuBLAS's workspace, part of one of them", WORKSPACE / MIB),
        (f"planned for, at most: the ledger's / {SHARE}, without that", estimate / SHARE / MIB)])
    found, most = (inside + arena) / MIB, (estimate / SHARE + WORKSPACE) / MIB + SLACK
    page.check(found <= most, f"a step takes {cell(found)} MiB, at most {cell(most)} were planned")
    page.check(later == [outside, inside], f"after {many} steps the pools hold {later} bytes, after {FEW} "
                                           f"{[outside, inside]}")
    page.check(free - free_later <= SLACK * MIB, f"{(free - free_later) / MIB:.1f} MiB went after step {FEW}")
    page.sentence = (f"a step of {shape.layers} layers takes {cell(found)} MiB, the ledger says "
                     f"{cell(estimate / MIB)}")


def _free() -> int:
    """Bytes that nobody has."""
    return int(cupy().cuda.runtime.memGetInfo()[0])
