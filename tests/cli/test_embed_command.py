"""`minibert embed`: a row for each line, and the lines nearest to a query."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from train import tiny

from minibert.embed import embed
from minibert.interop.safetensors import read_arrays
from minibert.models import BertModel
from minibert.text.tokenizer import Tokenizer

from .conftest import Answer

Command = Callable[..., Answer]
LINES = ["", "bama done", *tiny.sentences()[:30], "  ", "bama done"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def vectors_in(path: Path) -> np.ndarray:
    return np.load(path) if path.suffix == ".npy" else read_arrays(path, "")[0]["vectors"]


def expected(run: Path, lines: list[str], pooling: str = "mean") -> np.ndarray:
    return embed(BertModel.from_pretrained(run), Tokenizer.load(run), lines, pooling)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["new/v.safetensors", "v.npy"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_every_line_gets_its_row(name: str, pooling: str, text: Path, run: Path, tmp_path: Path,
                                 minibert_command: Command) -> None:
    out = tmp_path / name
    code, output, errors = minibert_command("embed", run, text, text, "--out", out, "--pooling", pooling)
    assert code == 0, errors
    np.testing.assert_allclose(vectors_in(out), expected(run, LINES * 2, pooling), atol=1e-6)
    number = len(LINES) * 2
    assert re.fullmatch(rf"{number} texts of \d+ tokens in .* s: [\d,]+ sentences/s, [\d,]+ tokens/s, .*% padding\n"
                        rf"vectors {number} x 16 in {re.escape(str(out))}\n", output)
    assert "\r" in errors and f"{number}/{number}" in errors  # the bar, and nothing but the bar
    if out.suffix == ".safetensors":
        arrays, metadata = read_arrays(out, "")
        assert list(arrays) == ["vectors"] and metadata["pooling"] == pooling


def test_lines_come_from_a_pipe_and_go_to_the_working_folder(run: Path, tmp_path: Path, minibert_command: Command,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfbama\r\n\r\ndoso")))
    assert minibert_command("embed", run).code == 0
    np.testing.assert_allclose(vectors_in(tmp_path / "vectors.safetensors"), expected(run, ["bama", "", "doso"]),
                               atol=1e-6)


def test_long_lines_are_cut_and_counted(run: Path, tmp_path: Path, minibert_command: Command) -> None:
    text = tmp_path / "long.txt"
    text.write_text("bama\n" + "bama " * 40 + "\n", encoding="utf-8")
    output = minibert_command("embed", run, text, "--out", tmp_path / "v.npy").output
    assert "\n1 of them have more than the 24 tokens that this model reads, with [CLS] and [SEP]: their ends " in output


def test_the_nearest_lines_are_printed_with_their_places_each_text_once(text: Path, run: Path, tmp_path: Path,
                                                                       minibert_command: Command) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\nkilu kine\n", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    code, output, _ = minibert_command("embed", run, text, other, "--nearest", "bama done", "--top", 1000)
    assert code == 0 and sorted(tmp_path.iterdir()) == before  # no file is written
    rows = [re.fullmatch(r" ?(-?\d\.\d{3})  (.+):(\d+)  (.+)", line) for line in output.splitlines()[1:]]
    near, files, numbers, texts = zip(*(row.groups() for row in rows if row), strict=True)
    assert len(texts) == len(rows) and sorted(texts) == sorted({*LINES, "kilu kine"} - {"", "  "})
    assert (near[0], files[0], numbers[0], texts[0]) == ("1.000", str(text), "2", "bama done")
    assert (str(other), "2", "kilu kine") in zip(files, numbers, texts, strict=True)
    query, *vectors = expected(run, ["bama done", *texts])
    cosine = [query @ v / np.sqrt(query @ query * (v @ v)) for v in vectors]
    np.testing.assert_allclose([float(number) for number in near], cosine, atol=6e-4)
    assert list(near) == sorted(near, key=float, reverse=True)


def test_five_are_printed_and_a_file_written_only_when_asked_for(text: Path, run: Path, tmp_path: Path,
                                                                 minibert_command: Command) -> None:
    out = tmp_path / "v.npy"
    output = minibert_command("embed", run, text, "--nearest", "bama done", "--out", out).output
    assert vectors_in(out).shape == (len(LINES), 16)
    assert len(output.splitlines()) == 2 + 5


@pytest.mark.parametrize(("arguments", "message"), [
    ("{missing}", "{missing}: there is no such file"),
    ("{text} {missing}", "{missing}: there is no such file"),
    ("{empty}", "{empty}: the file is empty"),
    ("{blank}", "{blank}: there is no text here"),
    ("{text} {latin}", "{latin}:3: byte 5 is 0xe9, which is not UTF-8"),
    ("{text} --out {latin}", "--out must end in .safetensors or .npy, and {latin} does not"),
    ("{text} --out {old}", "{old} exists already: name another file with --out, or remove it"),
    ("{text} --out {latin}/v.npy", "cannot write {latin}/v.npy: {latin} is no folder that can be written to"),
    ("{text} --top 0", "--top must be at least 1, not 0"),
    ("{text} --threads 0", "--threads must be at least 1, not 0"),
    ("{text} --nearest \t", "--nearest needs a text with words in it"),
    ("{text} --nearest \udce9", "--nearest is not Unicode text"),
    ("{text} --nearest " + "\N{NO-BREAK SPACE}bama" * 40, "the text of --nearest is longer than this model reads"),
])
def test_a_mistake_is_answered_by_one_sentence_and_nothing_written(
        arguments: str, message: str, text: Path, run: Path, tmp_path: Path, minibert_command: Command,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = {name: tmp_path / f"{name}.npy" for name in ("missing", "empty", "blank", "latin", "old")}
    places["latin"] = places["latin"].with_suffix(".txt")
    for name, content in {"empty": b"", "blank": b" \n\n", "latin": b"a\r\nb\r\xe9\n", "old": b"old"}.items():
        places[name].write_bytes(content)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, output, errors = minibert_command("embed", run, *(
        part.format(text=text, **places) for part in arguments.split(" ")))
    assert (code, output) == (1, "")
    assert errors.startswith("minibert: ") and errors.count("\n") == 1 and errors.endswith("\n")
    assert message.format(text=text, **places) in errors
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_bytes_in_a_pipe_that_are_no_text_are_named_by_line(run: Path, tmp_path: Path, minibert_command: Command,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    for content, message in ((b"a\n\xe9", "standard input:2: byte 2 is 0xe9, which is not UTF-8"),
                             (b"", "standard input: there is no text here")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code, _, errors = minibert_command("embed", run, "--out", tmp_path / "v.npy")
        assert code == 1 and message in errors and errors.count("\n") == 1


@pytest.mark.parametrize("name", ["v.safetensors", "v.npy"])
def test_a_full_disk_leaves_no_half_of_a_file(name: str, text: Path, run: Path, tmp_path: Path,
                                              minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    code, _, errors = minibert_command("embed", run, text, "--out", tmp_path / name)
    assert code == 1 and f"cannot write {tmp_path / name}: No space left on device" in errors
    assert list(tmp_path.iterdir()) == [text]
