"""The log: what is in it, and that a resume neither repeats nor loses a step."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.errors import InputError
from minibert.optim import warmup_linear
from minibert.train.evaluation import Evaluation
from minibert.train.metrics import MetricsLog
from minibert.train.pretrain import Loaded, resume
from minibert.train.run import RunFolder

from . import tiny
from .process import interrupt_after

TRAINING = {"step", "masked_loss", "pair_loss", "lr", "masked_accuracy", "pair_accuracy", "gradient_norm",
            "tokens_per_second"}


def of_training(folder: Path) -> list[dict[str, float]]:
    return [record for record in RunFolder(folder).metrics.read() if "held_out" not in record]


def evaluations(folder: Path) -> list[dict[str, dict[str, float]]]:
    return [record for record in RunFolder(folder).metrics.read() if "held_out" in record]


def test_the_log_has_the_means_of_every_ten_steps_and_every_evaluation(finished: Path) -> None:
    training, held_out = of_training(finished), evaluations(finished)
    assert [record["step"] for record in training] == [10, 20, 30, 40]
    assert [record["step"] for record in held_out] == [20, 40]
    for record in training:
        assert record.keys() == TRAINING
        assert 0.0 <= record["masked_accuracy"] <= 1.0 and 0.0 <= record["pair_accuracy"] <= 1.0
        assert record["gradient_norm"] > 0.0 and record["tokens_per_second"] > 0
        assert 0.1 < record["pair_loss"] < 3.0 and 1.0 < record["masked_loss"] < math.log(120) + 2.0
    expected = {*Evaluation.__dataclass_fields__, "perplexity"}
    assert all(record["held_out"].keys() == expected for record in held_out)


def test_the_learning_rate_in_the_log_is_that_of_the_step(finished: Path) -> None:
    s = Loaded.read(finished).settings
    for record in of_training(finished):
        assert record["lr"] == warmup_linear(int(record["step"]), s.peak_lr(s.model_config(100)), s.warmup, s.steps)


def test_every_line_of_the_log_is_json_to_the_letter(finished: Path) -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    for line in (finished / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_stopped_and_resumed_run_logs_every_step_once_and_in_order(
        prepared: Path, finished: Path, copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(prepared)
    with monkeypatch.context() as patch:
        interrupt_after([25], patch)
        assert not resume(folder, 1, tiny.quiet)
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:  # a crash later than the save at 25
        file.write('{"step": 30, "masked_loss": 9.0}\n{"step": 40, "mas')
    assert resume(folder, 1, tiny.quiet)
    assert [record["step"] for record in of_training(folder)] == [10, 20, 30, 40]
    assert evaluations(folder) == evaluations(finished)
    timeless = [[{**record, "tokens_per_second": 0} for record in of_training(f)] for f in (folder, finished)]
    assert [a == b for a, b in zip(*timeless, strict=True)] == [True, True, False, True]  # 30: the mean since 25


def test_rewinding_keeps_the_records_up_to_a_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "log")
    assert log.read() == []
    for step in (10, 20, 20, 30):
        log.append(step=step, masked_loss=1.5)
    log.rewind(20)
    assert [record["step"] for record in log.read()] == [10, 20, 20]
    log.append(step=21, masked_loss=1.0)
    assert log.read()[-1] == {"step": 21, "masked_loss": 1.0}


def test_a_line_torn_by_a_crash_is_left_out_and_replaced(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "log")
    log.append(step=10)
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"step": 20, "masked_')
    assert log.read() == [{"step": 10}]
    log.rewind(20)
    log.append(step=20)
    assert log.read() == [{"step": 10}, {"step": 20}]


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "none" / "log")
    with pytest.raises(InputError, match=r"^cannot write .*log: No such file or directory$"):
        log.append(step=1)
