"""Other programs, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .options import Options

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
SCRIPT = TESTS / "gpu" / "run_on_gpu.py"
ON_STAND_IN = """
import sys
from gpu.driver.install import install
install()
from minibert.cli import main
sys.exit(main(sys.argv[1:]))
"""


def environment(*folders: Path) -> dict[str, str]:
    """Where the packages of this checkout come first, and then those of these folders."""
    paths = [str(ROOT), *map(str, folders), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}


def minibert(options: Options, *arguments: object, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """The command, with what it printed; on the stand-in where there is no GPU."""
    program = ["-c", ON_STAND_IN] if options.stand_in else ["-m", "minibert"]
    return run([sys.executable, *program, *map(str, arguments)], timeout, *([TESTS] if options.stand_in else []))


def run(command: Sequence[str], timeout: float | None, *folders: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment(*folders), capture_output=True, encoding="utf-8", errors="replace",
                          timeout=timeout)
