"""The measurement on a GPU as text for a terminal of 80 columns."""

import textwrap

from minibert.bench.gpu.ceilings import Ceilings
from minibert.bench.gpu.measurement import DeviceMeasurement, DeviceRow
from minibert.bench.gpu.timing import STEPS
from minibert.bench.report import WIDTH, digits, profile_table

NOTES = """\
Host: how long the host is busy with asking for one step; a step that takes about as long waits for Python. MB: what was
taken from the GPU's memory, but for CUDA's own. Share: of the ceiling of matrix products, of float32 arrays in the
row's precision. x: as a multiple of minibert's best row in that precision. Plain formulas draw dropout's masks on the
host, and wait for that; their weights, too, are updated by kernels."""
OF_PEERS = (" PyTorch computes the last layer at every position, minibert only where it is read; its autocast stores "
            "bfloat16 arrays, whose own ceiling is higher.")


def device_report(m: DeviceMeasurement) -> str:
    """Everything that was measured, in words and columns."""
    notes = NOTES.replace("\n", " ") + (OF_PEERS if not all(row.ours for row in m.rows) else "")
    parts = [_head(m), _ceilings(m.ceilings), _times(m), _rates(m), textwrap.fill(notes, WIDTH)]
    if m.profile:
        parts.append(profile_table(m.profile, "of a step, kernels called one by one"))
    return "\n\n".join(parts)


def device_means(m: DeviceMeasurement) -> str:
    """On what, and by what means, minibert computed, in words."""
    return f"{m.gpu}; micro-batch {m.micro_batch}" + (", recomputation" if m.recompute else "")


def _head(m: DeviceMeasurement) -> str:
    return "\n".join(part for line in (str(m.shape), device_means(m)) for part in textwrap.wrap(line, WIDTH))


def _ceilings(ceilings: Ceilings) -> str:
    """Rates of copies and of products alone."""
    lines = [f"{'ceilings: what this GPU reaches alone':<44}{''.join(f'{name:>12}' for name in ceilings.tflops)}"]
    for product in next(iter(ceilings.tflops.values())):
        rates = "".join(f"{digits(rates[product]):>12}" for rates in ceilings.tflops.values())
        lines.append(f"  {f'TFLOP/s, {product}':<42}{rates}")
    lines.append(f"  {'GB/s of memory, read and written, copying':<42}{digits(ceilings.copy_gbs):>12}")
    return "\n".join(lines)


def _times(m: DeviceMeasurement) -> str:
    """Times of a step, host and memory of everybody; then all versions, and a line for those that are missing."""
    title = f"milliseconds a step, rounds of {STEPS}"
    lines = [f"{title:<36}{'median':>9}{'min':>9}{'max':>9}{'host':>9}{'MB':>8}"]
    for row in m.rows:
        times = "".join(f"{digits(ms):>9}" for ms in (row.step_ms, min(row.ms), max(row.ms), row.host_ms))
        lines.append(f"  {row.name:<34}{times}{row.peak_mb:>8,.0f}")
    versions = "; ".join(dict.fromkeys(row.version for row in m.rows))
    lines += textwrap.wrap(versions, WIDTH, initial_indent="  ", subsequent_indent="  ")
    for reason in dict.fromkeys(m.left_out.values()):
        names = [name for name, why in m.left_out.items() if why == reason]
        lines += textwrap.wrap(f"left out ({reason}): {'; '.join(names)}", WIDTH, initial_indent="  ",
                               subsequent_indent="    ")
    return "\n".join(lines)


def _rates(m: DeviceMeasurement) -> str:
    lines = [f"{'rates':<36}{'tokens/s':>14}{'TFLOP/s':>10}{'share':>10}{'x':>10}"]
    return "\n".join([*lines, *(_rate(m, row) for row in m.rows)])


def _rate(m: DeviceMeasurement, row: DeviceRow) -> str:
    ratio = m.ratio(row)
    times = "-" if ratio is None else f"{ratio:.2f}"
    return f"  {row.name:<34}{m.tokens_per_s(row):>14,.0f}{digits(m.tflops(row)):>10}{m.share(row):>10.1%}{times:>10}"
