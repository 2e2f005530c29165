"""A mistake of the user is answered by one sentence that says what, where and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minibert.models import BertConfig, BertForPreTraining

from .conftest import TINY, Answer

Command = Callable[..., Answer]
NEW = "pretrain --corpus {good} --out {new} "
ROWS = [
    ("pretrain --corpus {missing} --out {new}", "{missing}: there is no such file"),
    ("pretrain --corpus {good} {missing} --out {new}", "{missing}: there is no such file"),
    ("pretrain --corpus {folder} --out {new}", "{folder}: this is a directory"),
    ("pretrain --corpus {empty} --out {new}", "{empty}: the file is empty"),
    ("pretrain --corpus {blank} --out {new}", "nothing but white space"),
    ("pretrain --corpus {binary} --out {new}", "{binary}:1: there is a NUL byte at byte 3, so this is a binary file"),
    ("pretrain --corpus {latin} --out {new}", "{latin}:2: byte 7 is 0xe9, which is not UTF-8"),
    ("pretrain --corpus {utf16} --out {new}", "UTF-16"),
    ("pretrain --corpus {single} --out {new}", "The corpus has 1 document, but at least 4 are needed"),
    ("pretrain --corpus {good} --out {run}", "{run} already holds a run or a model: `minibert pretrain --resume {run}"),
    ("pretrain --corpus {good} --out {empty}", "cannot write {empty}"),
    ("pretrain --corpus {good} --out {empty}/run", "cannot write {empty}/run"),
    ("pretrain --resume {run} --steps 50 --no-cased --out {new}", "so --cased, --steps, --out cannot be given with it"),
    ("pretrain --resume {folder}", "this folder holds no pretraining run to continue; `minibert pretrain` starts one"),
    ("pretrain --resume {missing}", "this folder holds no pretraining run to continue"),
    ("pretrain --resume {empty}", "cannot read {empty}/settings.json"),
    ("pretrain --resume {run} --threads 0", "--threads must be at least 1, not 0"),
    (NEW + "--threads -2", "--threads must be at least 1, not -2"),
    (NEW + "--hidden 16 --heads 3", "hidden_size 16 is not divisible by num_attention_heads 3"),
    (NEW + "--lr nan", "--lr must be a number above 0, not nan"),
    (NEW + "--steps 0", "--steps must be at least 1, not 0"),
    (NEW + "--steps 10 --warmup 10", "--warmup must be at least 0 and below --steps 10, not 10"),
    (NEW + "--width 0", "--width must be at least 1, not 0"),
    (NEW + "--eps 0", "--eps must be a number above 0, not 0.0"),
    (NEW + "--beta1 1", "--beta1 must be at least 0 and below 1, not 1.0"),
    (NEW + "--seed -1", "--seed must be at least 0 and below 2**64, not -1"),
    (NEW + "--vocab-size 5", "The vocabulary size is 5, but 5 places go to special tokens"),
    ("fill-mask {run} bama", "there is no [MASK] in 'bama': write [MASK], in capitals"),
    ("fill-mask {run} [mask]", "there is no [MASK] in '[mask]'"),
    ("fill-mask {run} [MASK]" + "\N{NO-BREAK SPACE}bama" * 30, "the text has 33 tokens with [CLS] and [SEP], and this"),
    ("fill-mask {run} [MASK]\udce9", "is not Unicode text: give it in UTF-8"),
    ("fill-mask {run} [MASK] --top 0", "--top must be at least 1, not 0"),
    ("fill-mask {missing} [MASK]", "{missing}/config.json does not exist"),
    ("fill-mask {folder} [MASK]", "{folder}/config.json does not exist"),
    ("fill-mask {unspecial} [MASK]", "the vocabulary has no [MASK]"),
    ("fill-mask {unlike} [MASK]", "they do not belong together"),
    ("fill-mask {truncated} [MASK]", "{truncated}/model.safetensors is damaged or not a safetensors file"),
    ("fill-mask {weightless} [MASK]", "{weightless}/model.safetensors does not exist"),
    ("fill-mask {foreign} [MASK]", "unknown field 'rope_theta'"),
    ("evaluate {folder}", "this folder holds no pretraining run"),
    ("evaluate {truncated}", "{truncated}/model.safetensors is damaged"),
    ("evaluate {run} --threads 0", "--threads must be at least 1, not 0"),
    ("bench --threads 0", "--threads must be at least 1, not 0"),
    ("bench --steps 0", "--steps must be at least 1, not 0"),
    ("bench --micro-batch 0", "--micro-batch must be at least 1, not 0"),
    ("bench --inference --micro-batch 4", "--micro-batch has no effect with --inference: leave it out"),
    ("bench --inference --recompute", "--recompute has no effect with --inference: leave it out"),
    ("bench --inference --steps 3", "--steps has no effect with --inference: leave it out"),
    ("bench --seconds nan", "--seconds must be above 0, not nan"),
    ("bench --shape 1 16 3 50 4 8", "--shape: hidden 16 is not divisible by heads 3"),
    ("bench --shape 1 16 2 50 0 8", "--shape: batch must be at least 1, not 0"),
    ("bench --shape 1 16 2 5 4 8", "--shape: vocabulary must be at least 6, not 5"),
    ("bench --shape 1 16 2 50 4 513", "--shape: length must be at most 512"),
    ("bench --out {folder}", "cannot write {folder}: it is a directory"),
    ("bench --growth --out {empty}/growth.png", "cannot write {empty}/growth.png"),
    ("lint {missing}", "{missing}: there is no such file"),
    ("lint {good} {binary}", "{binary}:1: there is a NUL byte"),
    ("lint {folder}", "{folder}: this is a directory"),
]
TEXTS = {"empty": b"", "blank": b" \n\t\n", "binary": b"abc\0def", "latin": b"abc\ncaf\xe9\n",
         "utf16": "text".encode("utf-16"), "single": b"One sentence.\nAnother one."}


def spoiled(run: Path, folder: Path) -> Path:
    """A copy of a run in which something is to be broken."""
    return Path(shutil.copytree(run, folder))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, run: Path, corpus: Path) -> dict[str, Path]:
    """Files and folders with all that can be wrong with them, by the names that the table uses."""
    parent = tmp_path_factory.mktemp("places")
    made = {name: parent / f"{name}.txt" for name in TEXTS}
    for name, content in TEXTS.items():
        made[name].write_bytes(content)
    made |= {"missing": parent / "missing", "new": parent / "new", "folder": parent / "folder", "run": run,
             "good": corpus}
    made["folder"].mkdir()
    for name in ("unspecial", "unlike", "truncated", "weightless", "foreign"):
        made[name] = spoiled(run, parent / name)
    (made["unspecial"] / "tokenizer.json").unlink()
    (made["unspecial"] / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nbama\n", encoding="utf-8")
    BertForPreTraining(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                  intermediate_size=8)).save_pretrained(made["unlike"])
    weights = made["truncated"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (made["weightless"] / "model.safetensors").unlink()
    config = made["foreign"] / "config.json"
    values = json.loads(config.read_text(encoding="utf-8")) | {"rope_theta": 1e4}
    config.write_text(json.dumps(values), encoding="utf-8")
    return made


@pytest.mark.parametrize(("line", "message"), ROWS)
def test_a_mistake_is_answered_by_one_sentence(line: str, message: str, places: dict[str, Path],
                                               minibert_command: Command) -> None:
    arguments = [argument.format(**places) for argument in line.split(" ")]
    if arguments[0] == "pretrain" and "--out" in arguments and "--resume" not in arguments:
        arguments[1:1] = TINY  # what the row says comes later, and wins
    code, _, errors = minibert_command(*arguments)
    assert code == 1
    assert errors.startswith("minibert: ") and errors.count("\n") == 1 and errors.endswith("\n")
    assert message.format(**places) in errors
    assert not places["new"].exists()


def test_a_damaged_state_is_refused_and_the_run_left_alone(run: Path, tmp_path: Path,
                                                           minibert_command: Command) -> None:
    folder = spoiled(run, tmp_path / "run")
    state = folder / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    code, _, errors = minibert_command("pretrain", "--resume", folder)
    assert code == 1
    assert errors.startswith(f"minibert: {state} is damaged or not a safetensors file") and errors.count("\n") == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_defect_of_minibert_itself_is_not_disguised_as_a_mistake(
        run: Path, minibert_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("minibert.fill_mask.fill_mask", defective)
    with pytest.raises(ZeroDivisionError):
        minibert_command("fill-mask", run, "[MASK]")


def test_ctrl_c_outside_training_is_no_traceback(run: Path, minibert_command: Command,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("minibert.fill_mask.fill_mask", interrupted)
    assert minibert_command("fill-mask", run, "[MASK]") == (130, "", "minibert: interrupted\n")
