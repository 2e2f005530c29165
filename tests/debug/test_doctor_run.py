"""The doctor visits a run and text files, and how it writes down what it found."""

import argparse
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_model
from train import tiny

from minibert import InputError
from minibert.debug.auditing import Finding, doctor, doctor_corpus, doctor_run
from minibert.debug.commands.doctor import add_doctor
from minibert.text import PretrainingBatches
from minibert.train.corpus import TokenisedCorpus
from minibert.train.run import RunFolder

from .historical_bugs import MODEL_BUGS, negatives_that_are_positives


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_doctor(parser.add_subparsers())
    options = parser.parse_args(["doctor", *arguments])
    return options.run(options)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_healthy_run_has_no_problem_and_is_not_changed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert command(str(run)) == 0
    assert contents(run) == before
    output, errors = capsys.readouterr()
    assert errors == "" and output.splitlines()[-1] == "21 checks, no problems, 1 skipped"
    assert "at step 40" in output and "cut of the batch" in output


def test_a_healthy_corpus_has_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(tiny.write_corpus(tmp_path / "corpus.txt"))) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 checks, no problems"


def test_json_has_every_finding_and_its_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(run), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True and len(report["findings"]) == 21
    by_name = {finding["name"]: finding for finding in report["findings"]}
    assert by_name["masking"]["evidence"]["labels"] > 100
    assert set(by_name["masking"]) == {"name", "status", "what", "why", "seen_in", "evidence"}


@pytest.mark.parametrize(("numbers", "status", "words"), [
    ({"masked_loss": 9.0}, "problem", "worse than guessing blindly"),
    ({"masked_loss": float("nan")}, "problem", "not a finite number"),
    ({"masked_loss": 0.01}, "problem", "too good to be true"),
    ({"masked_loss": 2.45}, "note", "at the unigram floor"),
    ({"masked_loss": 1.2, "next_accuracy": 1.0, "random_accuracy": 0.0}, "note", "answers every pair alike"),
    ({"masked_loss": 1.2}, "ok", "at step 41: masked 1.2 nats")])
def test_held_out_numbers_are_read_beside_their_floors(copy: Path, numbers: dict[str, float], status: str,
                                                       words: str) -> None:
    last = [record for record in RunFolder(copy).metrics.read() if "held_out" in record][-1]["held_out"]
    numbers = {"next_accuracy": 0.6, "random_accuracy": 0.5} | numbers
    RunFolder(copy).metrics.append(step=41, held_out={**last, **numbers})
    finding = doctor_run(copy)["held-out loss"]
    assert (finding.status, words in finding.what) == (status, True), finding


def test_held_out_sentences_that_were_trained_on_are_counted(copy: Path) -> None:
    path = RunFolder(copy).corpus
    corpus = TokenisedCorpus.load(path)
    path.unlink()
    TokenisedCorpus([*corpus.train, corpus.held_out[0]], corpus.held_out).save(path)
    finding = doctor_run(copy)["held-out text"]
    assert finding.status == "problem" and finding.evidence["shared"] == len(corpus.held_out[0])


def test_false_negatives_of_a_run_are_found(run: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    true = PretrainingBatches.batch
    monkeypatch.setattr(PretrainingBatches, "batch",
                        lambda self, step: next(negatives_that_are_positives([true(self, step)], 0.9)))
    assert command(str(run)) == 1
    output = capsys.readouterr().out
    assert "✗ negative pairs" in output and "codertimo/BERT-pytorch #110" in output


def test_a_corpus_that_is_one_document_or_repeats_itself_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("\n".join(tiny.sentences()), encoding="utf-8")
    report = doctor_corpus([path])
    assert [finding.name for finding in report.problems] == ["corpus", "batches"]
    text = tiny.write_corpus(tmp_path / "two.txt").read_text(encoding="utf-8")
    path.write_text(text + "\n" + text, encoding="utf-8")
    report = doctor_corpus([path])
    assert "144 of 288 sentences occurred before" in report["corpus"].what
    assert "google-research/bert #746" in str(report)


def test_what_is_no_run_is_said_in_a_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give one run folder alone, or only text files"):
        command(str(run), str(run / "vocab.txt"))
    with pytest.raises(InputError, match="does not exist"):
        command(str(tmp_path))
    with pytest.raises(InputError, match="there is no such file"):
        command(str(tmp_path / "nothing.txt"))


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("--help")
    output = capsys.readouterr().out
    assert "minibert doctor runs/pretrain-1" in output and "--json" in output and "exit status is 0" in output


class Cells(HTMLParser):
    """The text of every cell, and where links lead; tags must be balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def sick() -> Any:
    return doctor(MODEL_BUGS["next-sentence loss ignores label 0"].plant(toy_model()), toy_batch())


def test_a_report_is_a_list_that_fits_a_terminal() -> None:
    report = sick()
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 80 and repr(report) == str(report)
    assert lines[-1] == "20 checks, 2 problems, 3 skipped" == report.summary
    assert next(line for line in lines if line.startswith("✗")).startswith("✗ pair labels ")
    assert re.search(r"seen in: codertimo/BERT-pytorch #32", str(report))
    assert not report.ok and report["reachability"].status == "ok" and len(report) == len(list(report)) == 20
    assert "\033[31m✗ pair labels" in report.render(colour=True)
    assert max(map(len, report.render(columns=60).splitlines())) <= 60
    with pytest.raises(KeyError, match="no check 'reach'"):
        report["reach"]


def test_a_report_is_a_table_in_a_notebook() -> None:
    page = Cells()
    page.feed(sick()._repr_html_())
    assert page.open == [] and "https://github.com/codertimo/BERT-pytorch/issues/32" in page.links
    assert "20 checks, 2 problems" in page.text and "why it matters" in page.text
    assert "<script" not in sick()._repr_html_()


def test_the_numbers_of_a_report_are_plain(run: Path) -> None:
    for report in (sick(), doctor_run(run)):
        assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report.to_dict()
    finding = Finding("name", "ok", "what", evidence={"a": float("nan"), "b": [(1, np.float32(0.5))], "c": {2: np.inf}})
    assert finding.to_dict()["evidence"] == {"a": None, "b": [[1, 0.5]], "c": {"2": None}}
