"""A run folder from which something is missing, or into which nothing can be written, is said in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.models import BertConfig, BertForPreTraining
from minibert.text.tokenizer import Tokenizer
from minibert.train.corpus import TokenisedCorpus
from minibert.train.pretrain import Loaded, check_threads, evaluate_run, prepare_text, pretrain, resume, usable_threads
from minibert.train.report import SENTENCES, filled_gaps
from minibert.train.run import RunFolder, next_free_folder

from . import tiny

Copy = Callable[[Path], Path]


def refusal(task: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        task(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "message"), [
    ("settings.json", "does not exist: this folder holds no pretraining run to continue"),
    ("corpus.safetensors", "does not exist: a run keeps its tokenised text there"),
])
def test_a_run_without_one_of_its_files_is_not_resumed(name: str, message: str, finished: Path, copy: Copy) -> None:
    folder = copy(finished)
    (folder / name).unlink()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert refusal(resume, folder, 1, tiny.quiet) == f"{folder / name} {message}" + (
        "; `minibert pretrain` starts one" if name == "settings.json" else "")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_run_without_a_vocabulary_is_not_resumed(finished: Path, copy: Copy) -> None:
    folder = copy(finished)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    assert "there is neither tokenizer.json nor vocab.txt here" in refusal(resume, folder, 1, tiny.quiet)


def test_a_run_needs_its_text_file_no_more(prepared: Path, finished: Path, copy: Copy) -> None:
    """The run folder has the text itself, so the settings' path may lead nowhere."""
    folder = copy(prepared)
    settings = (folder / "settings.json").read_text(encoding="utf-8")
    (folder / "settings.json").write_text(settings.replace("corpus.txt", "gone.txt"), encoding="utf-8")
    assert resume(folder, 2, tiny.quiet)
    assert tiny.contents(folder) == tiny.contents(finished)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "cannot read"), (b"{", "cannot read"), (b"[]", "should hold a JSON object, not a list"),
    (b"\xff\xfe", "cannot read"), (b"{}", "another version wrote it"),
])
def test_damaged_settings_are_refused(content: bytes, message: str, finished: Path, copy: Copy) -> None:
    folder = copy(finished)
    (folder / "settings.json").write_bytes(content)
    assert message in refusal(resume, folder, 1, tiny.quiet)


def test_a_corpus_that_is_something_else_or_damaged_is_refused(finished: Path, copy: Copy) -> None:
    folder = copy(finished)
    corpus = folder / "corpus.safetensors"
    content = bytearray(corpus.read_bytes())
    corpus.write_bytes((folder / "model.safetensors").read_bytes())
    assert "lacks 'train.ids': it is not the tokenised text of a run" in refusal(resume, folder, 1, tiny.quiet)
    content[-100] ^= 4
    corpus.write_bytes(content)
    assert "its checksum does not match its numbers" in refusal(resume, folder, 1, tiny.quiet)


def test_a_corpus_comes_back_sentence_by_sentence(tmp_path: Path) -> None:
    train = [[np.array([5, 6, 7]), np.array([], np.int64)], [np.array([8])]]
    held_out = [[np.array([9])], [np.array([10, 11]), np.array([12])]]
    TokenisedCorpus(train, held_out).save(tmp_path / "corpus")
    loaded = TokenisedCorpus.load(tmp_path / "corpus")
    for before, after in zip((train, held_out), loaded, strict=True):
        assert [[s.tolist() for s in document] for document in after] == [[s.tolist() for s in d] for d in before]
    assert loaded.train[0][0].dtype == np.int64


def test_training_and_held_out_text_share_no_sentence(prepared: Path, corpus: Path) -> None:
    loaded = Loaded.read(prepared)
    sides = [{tuple(s.tolist()) for document in side for s in document} for side in loaded.corpus]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == len(tiny.sentences())
    train, held_out = prepare_text(tiny.settings(corpus), tiny.quiet)
    assert (len(train), len(held_out)) == tuple(map(len, loaded.corpus))


def test_a_text_with_problems_is_trained_on_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\n\n".join(tiny.sentences()), encoding="utf-8")
    said: list[str] = []
    prepare_text(tiny.settings(path), said.append)
    assert said[0].startswith("warning: 144 of 144 documents have a single sentence")
    assert [line.split()[:2] for line in said[-2:]] == [["text:", "train"], ["text:", "held"]]
    assert all(line.startswith("warning: ") for line in said[:-2])


@pytest.mark.parametrize("name", ["settings.json", "config.json", "model.safetensors"])
def test_a_folder_with_a_run_or_a_model_is_not_written_over(name: str, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"precious")
    message = refusal(pretrain, tiny.settings(corpus), tmp_path, 1, tiny.quiet)
    assert message == (f"{tmp_path} already holds a run or a model: `minibert pretrain --resume {tmp_path}` continues "
                       f"a run, another --out starts a new one")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_shape_that_cannot_be_is_said_before_any_work(tmp_path: Path) -> None:
    settings = tiny.settings(tmp_path / "no-such-file", hidden=16, heads=3)
    assert "not divisible" in refusal(pretrain, settings, tmp_path / "run", 1, tiny.quiet)


def test_a_folder_that_cannot_be_written_is_one_sentence(corpus: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    message = refusal(pretrain, tiny.settings(corpus), tmp_path / "file" / "run", 1, tiny.quiet)
    assert message.startswith(f"cannot write {tmp_path / 'file' / 'run'}")
    loaded = Loaded.read(prepared)
    (tmp_path / "run" / "vocab.txt").mkdir(parents=True)  # a file of that name cannot be put here
    message = refusal(RunFolder(tmp_path / "run").prepare, loaded.settings, loaded.tokenizer, loaded.corpus)
    assert message.startswith(f"cannot write {tmp_path / 'run'}")


def test_new_runs_are_numbered(tmp_path: Path) -> None:
    assert next_free_folder(tmp_path) == tmp_path / "pretrain-1"
    (tmp_path / "pretrain-1").mkdir()
    (tmp_path / "pretrain-2").write_text("a file counts as well", encoding="utf-8")
    (tmp_path / "pretrain-4").mkdir()
    assert next_free_folder(tmp_path) == tmp_path / "pretrain-3"


def test_a_run_stopped_before_its_first_save_has_no_model_to_evaluate(prepared: Path) -> None:
    assert "config.json does not exist" in refusal(evaluate_run, prepared, 1)


def test_threads_are_counted_and_checked() -> None:
    assert usable_threads() >= 1
    assert check_threads(3) == 3
    assert refusal(check_threads, 0) == "--threads must be at least 1, not 0"


@pytest.mark.parametrize(("length", "answered"), [(6, 0), (64, len(SENTENCES))])
def test_gaps_are_filled_in_the_sentences_that_fit_the_model(length: int, answered: int) -> None:
    tokenizer = Tokenizer.train([*SENTENCES, *SENTENCES], 400)
    model = BertForPreTraining(BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=length))
    lines = filled_gaps(model, tokenizer).splitlines()
    assert len(lines) == 2 * answered
    assert [line for line in lines if not line.startswith(" ")] == list(SENTENCES[:answered])
