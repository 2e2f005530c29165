"""What each command does when nothing is wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from train import tiny

from .conftest import TINY, Answer

Command = Callable[..., Answer]
GUESS = re.compile(r"  (\S+) +(\d+\.\d)%(?:  (#*))?")


def test_pretraining_says_what_it_does_and_leaves_a_whole_run(first_run: tuple[Path, str]) -> None:
    folder, output = first_run
    for said in ("text:    train ", "text: held out ", "vocabulary: training 120 WordPieces",
                 "model: 1 layers of width 16", f"saving to {folder}", "masked tokens and "):
        assert said in output
    assert sorted(file.name for file in folder.iterdir()) == [
        "accuracy.png", "config.json", "corpus.safetensors", "loss.png", "metrics.jsonl", "model.safetensors",
        "settings.json", "tokenizer.json", "tokenizer_config.json", "training_state.safetensors", "vocab.txt"]
    for picture in ("accuracy.png", "loss.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_runs_without_a_name_are_numbered(corpus: Path, tmp_path: Path, minibert_command: Command, without_curves: None,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert minibert_command("pretrain", "--corpus", corpus, *TINY, "--steps", 3).code == 0
        assert (tmp_path / "runs" / f"pretrain-{number}" / "model.safetensors").is_file()
    first, second = (tiny.contents(tmp_path / "runs" / f"pretrain-{number}") for number in (1, 2))
    assert first == second  # the same seed, the same run


def test_a_finished_run_can_be_resumed_and_says_that_it_is_finished(
        run: Path, minibert_command: Command, without_curves: None) -> None:
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    code, output, _ = minibert_command("pretrain", "--resume", run)
    assert code == 0
    assert output.startswith(f"resuming {run} at step 12 of 12\n")
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_an_unfinished_end_is_130(run: Path, minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minibert.train.pretrain.resume", lambda folder, threads, device: False)
    assert minibert_command("pretrain", "--resume", run).code == 130


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_is_passed_on(threads: int, run: Path, minibert_command: Command,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("minibert.train.pretrain.resume", lambda folder, threads, device: not asked.append(threads))
    assert minibert_command("pretrain", "--resume", run, "--threads", threads).code == 0
    assert asked == [threads]


@pytest.mark.parametrize(("flags", "count"), [((), 5), (("--top", 2), 2), (("--top", 10**6), None)])
def test_guesses_are_printed_best_first_with_their_probabilities(flags: tuple[object, ...], count: int | None,
                                                                 run: Path, minibert_command: Command) -> None:
    code, output, errors = minibert_command("fill-mask", run, "bama [MASK] baso [MASK]", *flags)
    assert (code, errors) == (0, "")
    vocabulary = (run / "vocab.txt").read_text(encoding="utf-8").splitlines()
    before, *parts = re.split(r"^\[MASK\] ([12])\n", output, flags=re.MULTILINE)
    assert (before, parts[0::2]) == ("", ["1", "2"])
    for part in parts[1::2]:
        guesses = [GUESS.fullmatch(line) for line in part.splitlines()]
        assert len(guesses) == (len(vocabulary) if count is None else count)
        pieces, shares, bars = zip(*(guess.groups() for guess in guesses if guess), strict=True)
        assert len(set(pieces)) == len(guesses) and set(pieces) <= set(vocabulary)
        numbers = [float(share) for share in shares]
        assert numbers == sorted(numbers, reverse=True) and 0.0 < sum(numbers) < 105.0
        assert all(len(bar or "") == pytest.approx(0.4 * number, abs=0.6)
                   for bar, number in zip(bars, numbers, strict=True))


def test_an_evaluation_is_a_table_or_the_same_numbers_as_json(run: Path, minibert_command: Command) -> None:
    code, table, errors = minibert_command("evaluate", run)
    assert (code, errors) == (0, "")
    code, output, errors = minibert_command("evaluate", run, "--json", "--threads", 1)
    assert (code, errors, output.count("\n")) == (0, "", 1)
    numbers = json.loads(output)
    for name, form in {"masked_loss": ".3f", "unigram_floor": ".3f", "chance_floor": ".3f", "masked_accuracy": ".1%",
                       "perplexity": ".1f", "pair_loss": ".3f", "pair_floor": ".3f", "pair_accuracy": ".1%",
                       "next_accuracy": ".1%", "random_accuracy": ".1%", "masked": ",", "pairs": ","}.items():
        assert format(numbers[name], form) in table, name
    last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert numbers.items() >= last["held_out"].items()  # the saved model is the one that was evaluated last


def test_lint_finds_nothing_wrong_with_good_text(corpus: Path, minibert_command: Command) -> None:
    code, output, errors = minibert_command("lint", corpus)
    assert (code, errors) == (0, "")
    rows = dict(re.findall(r"^(\w[\w ]*?) {2,}(.+)$", output, re.MULTILINE))
    assert (rows["documents"], rows["sentences"]) == ("24", "144")
    assert output.endswith("\nno problems found\n")


def test_lint_names_problems_with_their_lines_and_ends_with_1(tmp_path: Path, minibert_command: Command) -> None:
    text = tmp_path / "wrapped.txt"
    text.write_text("A first paragraph of words.\n\nA second paragraph of words.\n\nA third one of many words.\n",
                    encoding="utf-8")
    code, output, errors = minibert_command("lint", text)
    assert (code, errors) == (1, "")
    assert f"problem: there are only 3 documents ({text}:1)" in output
    assert "problem: 3 of 3 documents have a single sentence" in output and f"({text}:1, {text}:3, {text}:5)" in output
    paragraphs = minibert_command("lint", text, text, "--blank-lines", "paragraph").output
    assert re.search(r"^documents +2$", paragraphs, re.MULTILINE)  # each file is one
