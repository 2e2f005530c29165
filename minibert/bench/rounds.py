"""The timed steps: everybody takes one in turn, so that a machine whose speed drifts is fair to all."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm

from minibert.bench.contenders import OURS, PEERS, Contender
from minibert.bench.gemm import GemmPeak
from minibert.bench.machine import this_machine
from minibert.bench.measurement import Measurement, Row
from minibert.bench.profile import OpTime, Profile
from minibert.bench.shape import Shape
from minibert.bench.workers import Worker, WorkerEnded
from minibert.errors import InputError

Options = dict[str, Any]  # of our step: micro_batch and recompute, see bench.step
PAUSE = 0.05  # seconds between turns: the threads of BLAS and OpenMP go on spinning for a while after their work


class Rounds:
    """Worker processes that take steps in turn.  Use it in a `with` block, which ends them."""

    def __init__(self, shape: Shape, threads: int, options: Options, gemm: GemmPeak) -> None:
        self.shape, self.threads, self.options, self.gemm = shape, threads, options, gemm
        self.left_out: dict[str, str] = {}
        self.peers: dict[str, tuple[Worker, Row]] = {}
        self._closing = ExitStack()

    def __enter__(self) -> "Rounds":
        with _fatal():
            self.worker = self._closing.enter_context(
                Worker(OURS.module, self.shape, self.threads, **self.options))
        self.row = Row(OURS.name, self.worker.facts["version"], [])
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def invite(self, peer: Contender) -> None:
        """Let a peer take part, if it is installed and can start."""
        if peer.missing:
            self.left_out[peer.name] = f"needs {' and '.join(peer.missing)}"
            return
        try:
            worker = Worker(peer.module, self.shape, self.threads, **peer.options)
        except WorkerEnded as end:
            self.left_out[peer.name] = str(end)
        else:
            self._closing.enter_context(worker)
            self.peers[peer.name] = worker, Row(peer.name, worker.facts["version"], [])

    def run(self, steps: int, seconds: float, progress: Callable[[], object] = lambda: None) -> None:
        """Take up to `steps` rounds, at least one, and start none after `seconds`; then ask for the peak memory."""
        end = time.monotonic() + seconds
        for done in range(steps):
            if done and time.monotonic() > end:
                break
            self.take()
            progress()
        self.memory()

    def take(self) -> None:
        """One round: a step of ours, one of every peer, and a look at the peak of matrix products."""
        with _fatal():
            self.row.ms.append(self.worker.ask("step"))
        time.sleep(PAUSE)
        for row, ms in self._answers("step"):
            row.ms.append(ms)
            time.sleep(PAUSE)
        self.gemm.measure()
        time.sleep(PAUSE)

    def memory(self) -> None:
        """Note everybody's peak memory."""
        with _fatal():
            self.row.peak_mb = self.worker.ask("memory")
        for row, peak_mb in self._answers("memory"):
            row.peak_mb = peak_mb

    def _answers(self, request: str) -> Iterator[tuple[Row, Any]]:
        """Ask one peer after the other; one that ends without an answer is left out from here on."""
        for name, (worker, row) in list(self.peers.items()):
            try:
                answer = worker.ask(request)
            except WorkerEnded as end:
                self.left_out[name] = str(end)
                del self.peers[name]
            else:
                yield row, answer

    def profile(self) -> Profile:
        """Where the time of our step goes."""
        with _fatal():
            answer = self.worker.ask("profile")
        return Profile([OpTime(*row) for row in answer["ops"]], answer["rest"])


@contextmanager
def _fatal() -> Iterator[None]:
    """Without our own worker there is no benchmark: for lack of memory or time, or by a defect of minibert."""
    try:
        yield
    except WorkerEnded as end:
        if end.killed or "MemoryError" in str(end):
            what = str(end) if end.killed else "ran out of memory"
            raise InputError(f"the training step {what}: choose a smaller --shape or --micro-batch") from None
        raise RuntimeError(f"the training step ended: {end}\n{end.errors}") from end


def measure(shape: Shape, threads: int, options: Options, steps: int, seconds: float,
            peers: Sequence[Contender] = PEERS) -> Measurement:
    """Time the step of everybody, then look where the time of ours goes; `steps` and `seconds` as in Rounds.run."""
    gemm = GemmPeak(threads)
    with Rounds(shape, threads, options, gemm) as rounds, progress_bar(steps, "round") as bar:
        for peer in peers:
            bar.set_description(f"starting {peer.name}")
            rounds.invite(peer)
        bar.set_description("timing")
        rounds.run(steps, seconds, bar.update)
        bar.set_description("profiling")
        return Measurement(shape, threads, rounds.worker.facts["micro_batch"], this_machine(), rounds.row, gemm.gflops,
                           rounds.profile(), [row for _, row in rounds.peers.values()], rounds.left_out,
                           bool(options.get("recompute")))


def progress_bar(total: int, unit: str) -> Any:
    """What has been done of `total`, on a terminal only; it leaves nothing behind."""
    return tqdm(total=total, unit=unit, disable=None, leave=False, dynamic_ncols=True,
                bar_format="{desc} {n_fmt}/{total_fmt} |{bar:20}| {elapsed}")
