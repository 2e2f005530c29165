"""The measurement as text for a terminal of 80 columns."""

import textwrap

from minibert.bench.machine import Machine
from minibert.bench.measurement import Measurement, Row
from minibert.bench.profile import OpTime, Profile
from minibert.bench.shape import Shape

WIDTH = 80


def report(m: Measurement) -> str:
    """Everything that was measured, in words and columns."""
    head = describe(m.shape, m.machine, means(m))
    return "\n\n".join((head, _contenders(m), _rate(m), profile_table(m.profile, "of a step on one thread")))


def means(m: Measurement) -> str:
    """By what means minibert computed, in words."""
    return f"{count(m.threads, 'thread')}, micro-batch {m.micro_batch}" + (", recomputation" if m.recompute else "")


def describe(shape: Shape, machine: Machine, means: str) -> str:
    """What was computed, on what, by what means, and what is wrong with that."""
    lines = [str(shape), f"{machine}; {means}", *(f"warning: {warning}" for warning in machine.warnings)]
    return "\n".join(part for line in lines for part in textwrap.wrap(line, WIDTH))


def count(number: int, what: str) -> str:
    """1 step, 2 steps."""
    return f"{number} {what}{'s' if number > 1 else ''}"


def digits(x: float) -> str:
    """Three digits, or all before the point."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _contenders(m: Measurement) -> str:
    """Times of a step, memory and ratio of everybody; then all versions, and a line for each that is missing."""
    title = f"milliseconds a step, of {count(len(m.ours.ms), 'step')}"
    lines = [f"{title:<36}{'median':>8}{'min':>8}{'max':>8}{'peak MB':>10}{'x ours':>9}"]
    lines += [_contender(row, m.ours) for row in m.rows]
    lines += textwrap.wrap("; ".join(dict.fromkeys(row.version for row in m.rows)), WIDTH, initial_indent="  ",
                           subsequent_indent="  ")
    lines += [textwrap.shorten(f"  {name} left out: {reason}", WIDTH, placeholder=" ...")
              for name, reason in m.left_out.items()]
    return "\n".join(lines)


def _contender(row: Row, ours: Row) -> str:
    decimals = 0 if ours.step_ms >= 100 else 1
    times = "".join(f"{ms:>8,.{decimals}f}" for ms in (row.step_ms, min(row.ms), max(row.ms)))
    memory = "-" if row.peak_mb is None else f"{row.peak_mb:,.0f}"
    return f"  {row.name:<34}{times}{memory:>10}{row.ratio(ours):>9.2f}"


def _rate(m: Measurement) -> str:
    """Speed, and how far it is from what matrix products alone would reach."""
    return (f"{m.tokens_per_s:,.0f} tokens a second\n"
            f"{digits(m.gflop_per_step)} GFLOP a step in matrix products ({digits(m.whole_gflop_per_step)} if the last "
            f"layer\nwere computed where nobody reads it), {digits(m.gflops)} GFLOP a second:\n"
            f"{m.gemm_share:.0%} of the {digits(m.gemm_peak_gflops)} that large matrix products alone reach here")


def profile_table(profile: Profile, of_what: str) -> str:
    """Operations with both their directions, then what is not in an operation."""
    lines = [f"{'milliseconds by operation,':<36}{'forward':>8}{'calls':>8}{'backward':>10}{'calls':>8}{'share':>9}",
             of_what]
    decimals = 1 if profile.total_ms >= 20 else 3
    for op, sides in profile.by_op().items():
        cells = _cell(sides.get("forward"), 8, decimals), _cell(sides.get("backward"), 10, decimals)
        share = sum(row.ms for row in sides.values()) / profile.total_ms
        lines.append(f"  {op:<34}{''.join(cells)}{share:>9.1%}")
    for name, ms in profile.rest.items():
        lines.append(f"  {name:<34}{ms:>8.{decimals}f}{'':>26}{ms / profile.total_ms:>9.1%}")
    return "\n".join(lines)


def _cell(row: OpTime | None, width: int, decimals: int) -> str:
    return f"{'':>{width + 8}}" if row is None else f"{row.ms:>{width}.{decimals}f}{row.calls:>8}"
