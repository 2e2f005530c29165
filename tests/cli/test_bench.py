"""`minibert bench` measures, prints and draws."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import minibert
from minibert.bench import rounds

from .conftest import Answer

Command = Callable[..., Answer]
SHAPE = ("--shape", 1, 16, 2, 50, 4, 8)


def test_a_table_and_a_picture(tmp_path: Path, minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = minibert_command("bench", *SHAPE, "--no-peers", "--steps", 2)
    assert (code, errors) == (0, "")
    assert output.startswith("BERT of 1 layer, width 16, 2 heads, 50 words; batch 4 x 8 tokens\n")
    assert "of 2 steps" in output and output.endswith("\npicture: bench.png\n")
    assert [file.name for file in tmp_path.iterdir()] == ["bench.png"]


def test_json_is_all_that_is_printed_and_nothing_is_drawn(tmp_path: Path, minibert_command: Command,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = minibert_command("bench", *SHAPE, "--no-peers", "--steps", 1, "--threads", 1,
                                            "--micro-batch", 2, "--recompute", "--json")
    assert (code, errors, output.count("\n")) == (0, "", 1)
    numbers = json.loads(output)
    assert (numbers["threads"], numbers["micro_batch"], numbers["steps"], numbers["peers"]) == (1, 2, 1, {})
    assert numbers["recompute"] is True
    assert list(tmp_path.iterdir()) == []


def test_growth_is_a_table_and_a_picture(tmp_path: Path, minibert_command: Command,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minibert.bench.growth.FACTORS", (1,))  # of everything only the base
    picture = tmp_path / "a" / "growth.png"
    code, output, errors = minibert_command("bench", "--growth", *SHAPE, "--steps", 1,
                                            "--out", picture)
    assert (code, errors) == (0, "")
    assert "| dimension |" in output and output.endswith(f"\npicture: {picture}\n")
    assert picture.is_file()


def test_inference_without_peers_asks_nobody_else(minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minibert.bench.inference.transformers_ways", None)  # is not to be called
    code, output, errors = minibert_command("bench", "--inference", "--no-peers", *SHAPE, "--json")
    assert (code, errors) == (0, "")
    assert json.loads(output)["sentences per second"].keys() == {"minibert"}


def test_without_flags_the_known_peers_are_invited(minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    invited: list[str] = []
    monkeypatch.setattr(rounds.Rounds, "invite", lambda self, peer: invited.append(peer.name))
    assert minibert_command("bench", *SHAPE, "--steps", 1, "--json").code == 0
    assert invited == ["PyTorch float32 eager", "PyTorch bfloat16 autocast (sdpa)", "JAX jit"]


def listen_to_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that it starts, these tests included."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_is_quiet_and_nothing_is_left_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", "bench", *map(str, SHAPE), "--no-peers", "--steps", "1000000"],
        cwd=tmp_path, start_new_session=True, preexec_fn=listen_to_ctrl_c, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(minibert.__file__).parents[1])})
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everybody gets it
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "minibert: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert list(tmp_path.iterdir()) == []
