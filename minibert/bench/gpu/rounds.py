"""One after the other has the GPU for itself: our ways to take the step, then the peers."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from minibert import __version__
from minibert.backend import room_on_gpu
from minibert.bench.contenders import GPU_PEERS, Contender
from minibert.bench.gpu.ceilings import Ceilings, measure_ceilings
from minibert.bench.gpu.machine import this_gpu
from minibert.bench.gpu.measurement import DeviceMeasurement, DeviceRow
from minibert.bench.gpu.profile import profile_device
from minibert.bench.gpu.step import WAYS, Way, device_step, loss_of, new_model
from minibert.bench.gpu.timing import STEPS, Round, time_round
from minibert.bench.profile import Profile
from minibert.bench.rounds import progress_bar
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.bench.workers import Worker, WorkerEnded
from minibert.errors import InputError
from minibert.train.black_box import Diverged

TOLERANCE = {"float32": 1e-4, "tf32": 5e-4, "bfloat16": 3e-3}  # of the loss before the first step, relative
PROFILE = "the table of operations"


class Sitting:
    """What is measured, by whom, and what has been found so far.

    options: micro_batch and recompute, see `device_step`.  rounds: that each takes at most, at least one, and none
    begins after `seconds` of its own.
    """

    def __init__(self, shape: Shape, options: dict[str, Any], rounds: int, seconds: float) -> None:
        self.shape, self.options, self.rounds, self.seconds = shape, options, rounds, seconds
        self.rows: list[DeviceRow] = []
        self.left_out: dict[str, str] = {}
        self.model = new_model(shape)
        self.loss = loss_of(self.model, synthetic_batch(shape))  # by NumPy: what everybody must find

    def ceilings(self) -> Ceilings:
        """A look at them.  Raises OutOfMemory when the GPU is too small for that."""
        with room_on_gpu("choose a smaller --shape"):
            return measure_ceilings(self.shape)

    def take(self, way: Way) -> None:
        """Time one of our ways, or note why it has no time."""
        try:
            with device_step(self.shape, way, **self.options) as step:
                self._check(step.loss, way.precision)
                for _ in range(STEPS):
                    step()
                losses = step.wait()
                rounds = self._timed(lambda: time_round(step, step.wait))
                self.rows.append(DeviceRow(way.name, f"minibert {__version__}, NumPy {np.__version__}", way.precision,
                                           True, step.loss, rounds, step.memory_mb, losses))
        except Diverged as end:
            self.left_out[way.name] = f"went wrong at step {end.step}, because {end.reason}"
        except InputError as error:
            self.left_out[way.name] = str(error)

    def profile(self, copy_gbs: float) -> Profile | None:
        """Where the time of our step goes; None when there was no room to look."""
        try:
            return profile_device(self.shape, copy_gbs, **self.options)
        except InputError as error:
            self.left_out[PROFILE] = str(error)
            return None

    def invite(self, peer: Contender, weights: Path) -> None:
        """Time a peer, which begins with the weights in this folder, or note why it has no time."""
        if peer.missing:
            self.left_out[peer.name] = f"needs {' and '.join(peer.missing)}"
            return
        precision = peer.options["precision"]
        try:
            with Worker(peer.module, self.shape, 1, weights=str(weights), **peer.options) as worker:
                self._check(worker.facts["loss"], precision)
                worker.ask("round")
                rounds = self._timed(lambda: Round(*worker.ask("round")))
                self.rows.append(DeviceRow(peer.name, worker.facts["version"], precision, False, worker.facts["loss"],
                                           rounds, worker.ask("gpu_memory")))
        except WorkerEnded as end:
            self.left_out[peer.name] = str(end)
        except InputError as error:
            self.left_out[peer.name] = str(error)

    def _check(self, loss: float, precision: str) -> None:
        """Raises InputError for somebody who computes something else."""
        if not abs(loss - self.loss) <= TOLERANCE[precision] * abs(self.loss):
            raise InputError(f"its loss is {loss:.5g}, where {self.loss:.5g} is right: nothing to compare")

    def _timed(self, take: Callable[[], Round]) -> list[Round]:
        end, rounds = time.monotonic() + self.seconds, [take()]
        while len(rounds) < self.rounds and time.monotonic() < end:
            rounds.append(take())
        return rounds


def measure_device(shape: Shape, options: dict[str, Any], steps: int, seconds: float,
                   peers: Sequence[Contender] = GPU_PEERS) -> DeviceMeasurement:
    """Time everybody, and look at the ceilings before and after.  options: see Sitting; steps: timed ones of each.

    Raises InputError when there is no GPU, or it takes the step in no way.
    """
    gpu = this_gpu()
    sitting = Sitting(shape, options, math.ceil(steps / STEPS), seconds / (len(WAYS) + len(peers)))
    with progress_bar(len(WAYS) + len(peers), "way") as bar, TemporaryDirectory() as weights:
        bar.set_description("ceilings")
        ceilings = sitting.ceilings()
        for way in WAYS:
            bar.set_description(way.name)
            sitting.take(way)
            bar.update()
        if not sitting.rows:
            raise InputError(f"this GPU cannot take the training step: {next(iter(sitting.left_out.values()))}")
        bar.set_description("profiling")
        ceilings = ceilings.best(sitting.ceilings())
        profile = sitting.profile(ceilings.copy_gbs)
        sitting.model.save_pretrained(weights)
        for peer in peers:
            bar.set_description(peer.name)
            sitting.invite(peer, Path(weights))
            bar.update()
    micro_batch = min(options["micro_batch"] or shape.batch, shape.batch)
    return DeviceMeasurement(shape, micro_batch, bool(options["recompute"]), gpu, ceilings, sitting.rows, profile,
                             sitting.left_out)
