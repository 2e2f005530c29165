"""Checks minibert on a machine that has a GPU, and writes all that was found to one report.

    python tests/gpu/run_on_gpu.py                      # from the root of a checkout; about ten minutes
    python tests/gpu/run_on_gpu.py --only twins model   # some of it

Each section runs in a process of its own, because a fault on the GPU spoils the process in which it happens. The report
is written again after each. The exit status is 0 when every section that ran has passed.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from traceback import print_exc

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gpu.native.children import TESTS, environment  # noqa: E402
from gpu.native.options import Options  # noqa: E402
from gpu.native.page import Page, Skip  # noqa: E402
from gpu.native.report import Outcome, markdown  # noqa: E402
from gpu.native.sections import HIDDEN, SECTIONS, Section  # noqa: E402

PACKAGES = ("numpy", "cupy", "safetensors", "tokenizers", "threadpoolctl", "tqdm", "matplotlib")
STAND_IN = "**On the stand-in for a driver: no GPU was used, and no time in here means anything.**"
LEAST = 10.0  # seconds left, or a section is not begun


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every section that ran has passed, 1 otherwise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    given = _parser().parse_args(arguments)
    options = Options(given.small, given.stand_in)
    if given.section:
        return run_here(given.section, given.json, options)
    if sentence := missing():
        print(sentence)
        return 1
    chosen = [section for section in SECTIONS if not given.only or section.name in given.only]
    return run_all(chosen, options, given.out.resolve(), 60 * given.minutes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_report.md"), help="the report [%(default)s]")
    parser.add_argument("--minutes", type=float, default=10, help="what is not begun by then is not run [%(default)s]")
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS], metavar="NAME",
                        help=f"sections: {', '.join(section.name for section in SECTIONS)}")
    parser.add_argument("--stand-in", action="store_true", help="rehearse without a GPU: see tests/gpu/README.md")
    parser.add_argument("--small", action="store_true", help="toy sizes")
    parser.add_argument("--section", help=argparse.SUPPRESS)  # in a child: this one, into the file --json
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    return parser


def missing() -> str:
    """What to install, in one sentence; empty when nothing is missing."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    distributions = {"cupy": f"'cupy-cuda{12 if drivers_cuda() == 12 else 13}x[ctk]'"}
    return (f"{', '.join(absent)} cannot be imported: {sys.executable} -m pip install "
            f"{' '.join(distributions.get(name, name) for name in absent)}")


def drivers_cuda() -> int:
    """The major version of CUDA that the NVIDIA driver supports; 0 without a driver."""
    found = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(found))
    except OSError:
        return 0
    return found.value // 1000


def run_here(name: str, file: Path, options: Options) -> int:
    """A section in this process."""
    section, page = next(s for s in (*SECTIONS, *HIDDEN) if s.name == name), Page(file)
    try:
        if options.stand_in:
            from gpu.driver.install import install
            install()
        section.run(page, options)
        page.complete = True
    except Skip as reason:
        page.skipped = str(reason)
    except Exception as error:
        print_exc()
        page.failures.append(f"{type(error).__name__}: {error}")
    page.save()
    return 0


def run_all(chosen: Sequence[Section], options: Options, out: Path, seconds: float) -> int:
    """Every section in turn, as long as there is time; the report after each."""
    end, outcomes = time.monotonic() + seconds, list[Outcome]()
    remarks = [STAND_IN] * options.stand_in

    def write() -> None:
        waiting = [not_run(section, "its turn did not come") for section in chosen[len(outcomes):]]
        out.write_text(markdown([*outcomes, *waiting], remarks), encoding="utf-8")

    write()  # so that a file that cannot be written is no surprise at the end
    for section in chosen:
        left = end - time.monotonic()
        if left < LEAST:
            outcomes.append(not_run(section, "the time was over"))
        elif outcomes and outcomes[0].section.name == "environment" and not outcomes[0].page.held:
            outcomes.append(not_run(section, "no GPU computes here: see environment"))
        else:
            outcomes.append(run_section(section, options, min(left, section.seconds)))
        o = outcomes[-1]
        print(f"{o.verdict:<8} {section.name:<12} {o.seconds:>5.0f} s  {o.sentence}", flush=True)
        write()
    print(f"report: {out}")
    return int(not all(o.verdict in ("passed", "skipped", "not run") for o in outcomes))


def not_run(section: Section, why: str) -> Outcome:
    page = Page()
    page.skipped = why
    return Outcome(section, page, "not run")


def run_section(section: Section, options: Options, seconds: float) -> Outcome:
    """One section, in a process that is killed, with all that it started, when its time is over."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        file, start, over = Path(folder) / "page.json", time.monotonic(), False
        command = [sys.executable, str(Path(__file__).resolve()), "--section", section.name, "--json", str(file)]
        child = subprocess.Popen([*command, *options.flags], cwd=folder, env=environment(TESTS), stdout=log,
                                 stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)
        ended = ""
        try:
            if status := child.wait(seconds):
                ended = f"its process ended with status {status}" if status > 0 else (
                    f"its process was ended by {signal.Signals(-status).name}")
        except subprocess.TimeoutExpired:
            over = seconds < section.seconds
            ended = "" if over else f"it was stopped after {seconds:.0f} s"
        finally:
            kill(child)
        page = Page.read(file)
        if ended:
            page.failures.append(ended)
        elif over:
            page.skipped = "the time was over before its end"
        elif not file.exists():
            page.failures.append("its process wrote nothing")
        log.seek(0)
        verdict = "not run" if page.verdict == "skipped" and over else page.verdict
        return Outcome(section, page, verdict, time.monotonic() - start, log.read().decode(errors="replace"))


def kill(child: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a GPU that hangs does not end
        child.wait(10)


if __name__ == "__main__":
    sys.exit(main())
