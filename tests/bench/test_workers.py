"""Workers answer, and whatever becomes of them is told in one line."""

import sys
import threading
import time
from collections.abc import Callable

import pytest

from minibert.bench import rounds
from minibert.bench.contenders import Contender
from minibert.bench.rounds import measure
from minibert.bench.workers import Worker, WorkerEnded
from minibert.errors import InputError

from .conftest import TINY

Fake = Callable[[str], Contender]


def test_a_worker_answers_whatever_it_prints_and_ends_with_the_block(fake: Fake) -> None:
    with Worker(fake("talks").module, TINY, 3, colour="red") as worker:
        assert worker.facts["loss"] == 1.5
        assert (worker.facts["shape"], worker.facts["threads"], worker.facts["colour"]) == ([1, 16, 2, 50, 4, 8], 3,
                                                                                            "red")
        assert worker.ask("step") >= 0.0
        worker.ask("memory")
        assert worker.process.poll() is None
    assert worker.process.poll() is not None


@pytest.mark.parametrize(("name", "reason"), [
    ("crashes_at_once", "RuntimeError: no such luck"), ("ends_in_silence", "ended with code 3"),
    pytest.param("is_killed", "was ended by SIGKILL", marks=pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no signals"))])
def test_the_end_of_a_worker_is_told_in_one_line(name: str, reason: str, fake: Fake) -> None:
    with pytest.raises(WorkerEnded, match=reason) as caught:
        Worker(fake(name).module, TINY, 1)
    assert "\n" not in str(caught.value)


def test_a_worker_that_hangs_is_ended(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "patience", 0.3)
    with pytest.raises(WorkerEnded, match="no answer within"):
        Worker(fake("hangs").module, TINY, 1)


def test_a_slow_start_of_the_alarm_does_not_change_the_reason(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Timer.start
    monkeypatch.setattr(Worker, "patience", 0.3)
    monkeypatch.setattr(threading.Timer, "start", lambda alarm: (start(alarm), time.sleep(0.2)))
    with pytest.raises(WorkerEnded, match="no answer within"):
        Worker(fake("hangs").module, TINY, 1)


def test_broken_peers_are_left_out_and_the_others_measured(fake: Fake) -> None:
    absent = Contender("absent", "nowhere", needs=("no_such_library", "json"))
    peers = [fake("crashes_at_once"), fake("talks"), fake("crashes_later"), absent]
    m = measure(TINY, 1, {}, 3, 60.0, peers)
    assert [row.name for row in m.rows] == ["minibert", "talks"]
    assert [len(row.ms) for row in m.rows] == [3, 3]
    assert m.left_out == {"crashes_at_once": "RuntimeError: no such luck", "absent": "needs no_such_library",
                          "crashes_later": "ZeroDivisionError: division by zero"}


def test_time_that_is_over_ends_the_rounds_but_not_the_first() -> None:
    assert len(measure(TINY, 1, {}, 50, 1e-9, ()).ours.ms) == 1


@pytest.mark.parametrize(("name", "error", "said"), [
    ("crashes_at_once", RuntimeError, "no such luck"), ("hangs", InputError, "choose a smaller --shape")])
def test_without_our_own_step_there_is_no_benchmark(name: str, error: type[Exception], said: str, fake: Fake,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "OURS", fake(name))
    monkeypatch.setattr(Worker, "patience", 30.0 if error is RuntimeError else 0.3)
    with pytest.raises(error, match=said):
        measure(TINY, 1, {}, 1, 1.0, ())


def test_an_interrupt_ends_all_workers(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []

    def interrupted(self: rounds.Rounds) -> None:
        started.extend([self.worker, *(worker for worker, _ in self.peers.values())])
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds.Rounds, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(TINY, 1, {}, 1, 1.0, [fake("talks")])
    assert len(started) == 2 and all(worker.process.poll() is not None for worker in started)
