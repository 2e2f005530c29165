"""The peak memory of this process."""

import sys
from pathlib import Path

MB = 1e6  # bytes


def peak_memory_mb() -> float | None:
    """The most memory that this process has ever held, in MB of 10^6 bytes; None where the system does not tell.

    Linux keeps the number in VmHWM.  Its getrusage would not do: a new process inherits there the peak of the one
    that started it.  Elsewhere getrusage gives ru_maxrss in KiB, and on macOS in bytes.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MB
