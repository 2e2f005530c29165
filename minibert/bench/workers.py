"""The asking side: start a worker process, ask it for steps, and survive whatever happens to it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import minibert
from minibert.bench.served import ANSWER
from minibert.bench.shape import Shape


class WorkerEnded(Exception):
    """A worker ended without an answer; the message is one line that says why, as far as it can be known."""

    def __init__(self, reason: str, errors: str = "", killed: bool = False) -> None:
        super().__init__(reason)
        self.errors = errors  # all that it wrote to standard error
        self.killed = killed  # by the system or for its slowness, not by an exception


class Worker:
    """A process that serves training steps (see `minibert.bench.served`).  Use it in a `with` block, which ends it."""

    patience = 600.0  # seconds for an answer; a compilation may take a minute

    def __init__(self, module: str, shape: Shape, threads: int, **options: Any) -> None:
        """Run `module` on `shape`, and wait until it is warm.  Raises WorkerEnded when it does not get there."""
        root = str(Path(minibert.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            encoding="utf-8", env={**os.environ, "PYTHONPATH": path})
        try:
            self.facts = self.ask(json.dumps({"shape": shape.numbers, "threads": threads, **options}))
        except BaseException:
            self.close()
            raise

    def ask(self, request: str) -> Any:
        """The answer to one line.  Raises WorkerEnded when there is none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        alarm = threading.Timer(self.patience, self.process.kill)
        end = time.monotonic() + self.patience  # before the alarm starts, which must not ring earlier than that
        alarm.start()
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
            answer = next((line.partition(ANSWER)[2] for line in self.process.stdout if ANSWER in line), "")
        except OSError:  # it ended before it read the request
            answer = ""
        finally:
            alarm.cancel()
        if not answer:
            raise self._ended(late=time.monotonic() >= end)
        return json.loads(answer)

    def _ended(self, late: bool) -> WorkerEnded:
        code = self.process.wait()
        self.errors.seek(0)
        errors = self.errors.read().decode("utf-8", "replace")
        if late:
            return WorkerEnded(f"gave no answer within {self.patience:.0f} s", errors, killed=True)
        if code < 0:
            return WorkerEnded(f"was ended by {signal.Signals(-code).name}, perhaps for lack of memory", errors, True)
        lines = errors.strip().splitlines() or [f"ended with code {code}"]
        return WorkerEnded(lines[-1], errors)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
