"""The command line of `minibert bench`."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minibert.backend import choose_device
from minibert.errors import InputError
from minibert.flags import add_device
from minibert.models.config import PRESETS

STEPS, GPU_STEPS, SECONDS = 8, 200, 60.0  # unless the user says
NOT_ON_GPU = ("growth", "inference")
NOT_FOR_INFERENCE = ("micro_batch", "recompute", "steps", "seconds", "out")  # a forward pass and a table need none
BENCH = """\
How fast is a training step here, where does its time go, and what does the same step cost in other libraries?

It times steps of BERT pretraining (masked words and next sentence, dropout, gradient clipping, AdamW) on random ids,
and compares the rate of its matrix products with the best that large products alone reach on this machine. Where
PyTorch with transformers, or JAX with optax, is installed in the same environment, they take the same step, in turn
with minibert: with the same threads, and scoring the same masked positions. All are in memory at the same time.

With --device cuda it takes the step on a GPU, as pretraining does there: in plain formulas, in CUDA kernels called one
by one, and in one CUDA graph, with matrix products in float32, TF32 and bfloat16. Each has the GPU for itself in turn,
and so has PyTorch, where it is installed with CUDA. Beside stands what this GPU reaches when it only copies memory, or
only multiplies the largest matrices of the step. Growth, inference and JAX are measured on the CPU only.

With --growth it times minibert alone, on shapes with half, twice and four times the batch, length, width and depth.
With --inference it times the encoder on sentences of mixed lengths, as `minibert embed` runs it, and transformers'."""

EXAMPLES = """\
examples:
  minibert bench                              compare with what is installed, and draw bench.png
  minibert bench --preset base --no-peers     one BERT-base step, minibert only
  minibert bench --shape 2 128 2 3000 16 128 --json
  minibert bench --growth                     a table in Markdown, and growth.png
  minibert bench --inference                  sentences a second through the encoder
  minibert bench --device cuda --preset base  a BERT-base step on the GPU

The ratio `x ours` is the median over the rounds, in each of which everybody takes one step: on a machine that others
use, too, trust it more than the milliseconds."""


def add_bench(commands: Any) -> None:
    """Add the subcommand to an argument parser's subcommands."""
    parser = commands.add_parser("bench", help="time a training step, and compare", description=BENCH, epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=bench_command)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--growth", action="store_true", help="how time and memory grow with the shape")
    modes.add_argument("--inference", action="store_true",
                       help="sentences a second from text to vectors, of mixed lengths up to T, 32 B of them")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--shape", type=int, nargs=6, metavar=("L", "H", "A", "V", "B", "T"),
                       help="layers, hidden width, heads, vocabulary; batch, length of the sequences "
                            "[4 256 4 8192 32 128; with --growth 2 128 2 4096 16 64]")
    shape.add_argument("--preset", choices=tuple(PRESETS),
                       help="a published size, with vocabulary 30522, batch 16 and length 128")
    add_device(parser, default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that everybody computes on [all cores]")
    parser.add_argument("--micro-batch", type=int, metavar="N",
                        help="sequences that minibert computes at a time [as in pretraining]")
    parser.add_argument("--recompute", action="store_true",
                        help="minibert keeps only each layer's input and computes the rest twice, for less memory")
    parser.add_argument("--steps", type=int, metavar="N",
                        help=f"timed steps [{STEPS}; on a GPU {GPU_STEPS}, in rounds of 10]")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help=f"start no step after so many seconds of timing, even if some are left [{SECONDS:g}; on a "
                             f"GPU all share them]")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True,
                        help="compare with the other libraries that are installed [on]")
    parser.add_argument("--out", type=Path, metavar="PNG",
                        help="file of the picture [bench.png or growth.png; with --json none]")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def bench_command(options: argparse.Namespace) -> int:
    """`minibert bench`: what all modes have in common is checked here, the rest is the mode's own."""
    for name in ("steps", "micro_batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if options.seconds is not None and not options.seconds > 0:
        raise InputError(f"--seconds must be above 0, not {options.seconds:g}")
    if choose_device(options.device) == "cuda":
        return device_command(options)
    mode = growth_command if options.growth else inference_command if options.inference else step_command
    return mode(options)


def step_command(options: argparse.Namespace) -> int:
    """Time one shape, beside the peers."""
    from minibert.bench.chart import draw_measurement
    from minibert.bench.contenders import PEERS
    from minibert.bench.report import report
    from minibert.bench.rounds import measure
    from minibert.bench.shape import Shape

    picture = _picture(options, "bench.png")
    measurement = measure(_shape(options, Shape()), **_extent(options), peers=PEERS if options.peers else ())
    _show(measurement, report, draw_measurement, picture, options.json)
    return 0


def device_command(options: argparse.Namespace) -> int:
    """Time one shape on a GPU, beside the peers."""
    from minibert.bench.contenders import GPU_PEERS
    from minibert.bench.gpu.chart import draw_device
    from minibert.bench.gpu.report import device_report
    from minibert.bench.gpu.rounds import measure_device
    from minibert.bench.shape import Shape

    for name in NOT_ON_GPU:
        if getattr(options, name):
            raise InputError(f"--{name} is measured on the CPU only: leave it out, or take --device cpu")
    if options.threads is not None:
        raise InputError("--threads has no effect with --device cuda: leave it out")
    picture = _picture(options, "bench.png")
    measurement = measure_device(_shape(options, Shape()), _options(options), options.steps or GPU_STEPS,
                                 options.seconds or SECONDS, GPU_PEERS if options.peers else ())
    _show(measurement, device_report, draw_device, picture, options.json)
    return 0


def growth_command(options: argparse.Namespace) -> int:
    """Time many shapes."""
    from minibert.bench.growth import BASE, growth_report, measure_growth
    from minibert.bench.growth_chart import draw_growth

    picture = _picture(options, "growth.png")
    growth = measure_growth(_shape(options, BASE), **_extent(options))
    _show(growth, growth_report, draw_growth, picture, options.json)
    return 0


def inference_command(options: argparse.Namespace) -> int:
    """Time the way from text to vectors."""
    from minibert.bench.inference import compare_inference, inference_report
    from minibert.bench.machine import this_machine
    from minibert.bench.shape import Shape

    for name in NOT_FOR_INFERENCE:
        if getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')} has no effect with --inference: leave it out")
    machine = this_machine()  # before other libraries bring a BLAS of their own
    found = compare_inference(_shape(options, Shape()), _extent(options)["threads"], peers=options.peers)
    print(json.dumps(found) if options.json else inference_report(found, machine))
    return 0


def _shape(options: argparse.Namespace, default: Any) -> Any:
    """The shape that was asked for."""
    from minibert.bench.shape import Shape

    if options.preset:
        return Shape.preset(options.preset)
    return Shape(*options.shape) if options.shape else default


def _extent(options: argparse.Namespace) -> dict[str, Any]:
    """How much is to be measured, and on how many threads."""
    from minibert.train.pretrain import check_threads, usable_threads

    return {"threads": check_threads(usable_threads() if options.threads is None else options.threads),
            "options": _options(options),
            "steps": options.steps or STEPS, "seconds": options.seconds or SECONDS}


def _options(options: argparse.Namespace) -> dict[str, Any]:
    """By what means minibert is to compute."""
    return {"micro_batch": options.micro_batch, "recompute": options.recompute}


def _picture(options: argparse.Namespace, default: str) -> Path | None:
    """Where to draw, if at all.  Raises InputError when that cannot be, before the minutes of measuring."""
    if options.json and options.out is None:
        return None
    path = Path(options.out or default)
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # missing ones will be made
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "it is a directory" if path.is_dir() else f"{folder} is no folder that can be written"
        raise InputError(f"cannot write {path}: {what}")
    return path


def _show(result: Any, in_words: Callable[[Any], str], draw: Callable[[Any, Path], None], picture: Path | None,
          as_json: bool) -> None:
    """Draw the result where that is wanted, and print it."""
    if picture is not None:
        draw(result, picture)  # first: whoever reads what is printed may leave early
    print(json.dumps(result.to_dict()) if as_json else in_words(result))
    if picture is not None and not as_json:
        print(f"\npicture: {picture}")
