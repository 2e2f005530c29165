"""A training process to which something happens, run by the tests as `python victim.py FAULT FOLDER ...`.

block FOLDER        waits in its fifth step for a signal, and trains on when it was noticed
stuck FOLDER        never comes out of its fifth step
limit FOLDER BYTES  the operating system lets no file grow beyond so many bytes, as if the disk were full
killed TEXT FOLDER  as many runs as there are points at which a file changes: each is killed there by the
                    operating system, then gone on with in a new process; prints the points
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import minibert.files
from minibert.cli import main
from minibert.train import loop, pretrain
from minibert.train.interrupts import Interrupts
from minibert.train.metrics import MetricsLog

sys.path.insert(0, str(Path(__file__).parents[1]))
from train import tiny


def wait_for_signal(stuck: bool) -> None:
    """Make the fifth step say that it began, and not end before a signal was noticed."""
    noticed: list[Interrupts] = []
    steps = count(1)
    enter, step = Interrupts.__enter__, loop.Trainer.step

    def watched_enter(self: Interrupts) -> Interrupts:
        noticed.append(self)
        return enter(self)

    def waiting_step(self: loop.Trainer) -> None:
        if next(steps) == 5:
            print("ready", flush=True)
            while stuck or not noticed[0].requested:
                time.sleep(0.002)
        step(self)

    Interrupts.__enter__ = watched_enter  # type: ignore[method-assign]
    loop.Trainer.step = waiting_step  # type: ignore[method-assign]


class Killer:
    """Sends this process SIGKILL at the n-th point at which a file changes."""

    def __init__(self, number: int, label: Path) -> None:
        self.left, self.label = number, label
        self.replace, self.append = os.replace, MetricsLog.append
        minibert.files._to_disk = self.syncing
        os.replace = self.replacing
        killer = self

        def appending(log: MetricsLog, **record: Any) -> None:
            killer.point("half a line of the log", lambda: log.path.open("a").write('{"step": 2, "masked_lo'))
            killer.append(log, **record)

        MetricsLog.append = appending  # type: ignore[method-assign]

    def syncing(self, path: Path) -> None:
        """In place of waiting for the disk, which only matters when the power is cut."""
        if path.is_file():
            self.point(f"half of {path.name.split('.')[1]}", lambda: os.truncate(path, path.stat().st_size // 2))

    def replacing(self, source: Any, target: Any) -> None:
        self.replace(source, target)
        self.point(f"after {Path(target).name} is replaced")

    def point(self, name: str, damage: Callable[[], object] | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            self.label.write_text(name, encoding="utf-8")
            if damage:
                damage()
            os.kill(os.getpid(), signal.SIGKILL)


def train(text: Path, folder: Path) -> None:
    """Start the run, or go on with it, as the user would."""
    if (folder / "settings.json").exists():
        pretrain.resume(folder, 1, tiny.quiet)
    else:
        settings = tiny.settings(text, steps=4, batch=4, warmup=1, save_every=2, eval_every=2)
        pretrain.pretrain(settings, folder, 1, tiny.quiet)


def in_child(task: Callable[[], object]) -> int:
    """What `os.waitstatus_to_exitcode` says of a process that does the task."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        task()
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def kill_everywhere(text: Path, parent: Path) -> None:
    number, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        number += 1
        folder, label = parent / f"{number:03}", parent / f"{number:03}.txt"
        code = in_child(lambda folder=folder, label=label, number=number: (Killer(number, label), train(text, folder)))
        if code == -signal.SIGKILL:
            again = in_child(lambda folder=folder: train(text, folder))
            print(again, label.read_text(encoding="utf-8"), sep="\t", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    fault, *arguments = sys.argv[1:]
    pretrain.draw_curves = lambda *arguments: None
    if fault == "killed":
        kill_everywhere(*map(Path, arguments))
    if fault == "limit":
        most = int(arguments[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    else:
        wait_for_signal(stuck=fault == "stuck")
    sys.exit(main(["pretrain", "--resume", arguments[0], "--threads", "2"]))
