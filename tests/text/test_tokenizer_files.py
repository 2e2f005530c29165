"""The tokenizer on disk: the same after a round trip, and clear about what is wrong."""

import json
import os
from pathlib import Path

import pytest
import tokenizers
from tokenizers.models import BPE, WordPiece

from minibert.errors import InputError
from minibert.text.tokenizer import Tokenizer
from minibert.text.wordpiece import SPECIAL_TOKENS

SENTENCES = [
    "the cat sat on the mat", "the cats are sitting on mats", "a cat eats a rat", "rats sat",
    "Ein Kätzchen saß", "кот сидел на ковре", "коты сидели на коврах",
    "\u732b\u304c\u5ea7\u3063\u305f", "\u732b\u306f\u5ea7\u308b",
] * 3


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return Tokenizer.train(SENTENCES, vocab_size=150)


@pytest.mark.parametrize("lowercase", [True, False])
def test_save_and_load(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = Tokenizer.train(SENTENCES, 150, lowercase)
    folder = tmp_path / "new" / "folder"
    tokenizer.save(folder, max_length=64)
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["do_lower_case"], config["model_max_length"]) == (lowercase, 64)
    assert (config["tokenizer_class"], config["mask_token"]) == ("BertTokenizer", "[MASK]")
    text = ["The CAT s\u00e4t [MASK]", "\u732b\u304c кот", "never seen: xylophone"]
    for file in (None, "tokenizer.json"):   # then from vocab.txt alone
        if file:
            (folder / file).unlink()
        again = Tokenizer.load(folder)
        assert again.vocab_size == tokenizer.vocab_size
        assert [again.encode(t, "cat") for t in text] == [tokenizer.encode(t, "cat") for t in text]
        assert again.continuation.tolist() == tokenizer.continuation.tolist()
        assert again.special_ids.tolist() == tokenizer.special_ids.tolist()


def test_transformers_reads_what_is_saved(small: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small.save(tmp_path, max_length=64)
    peer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert (peer.model_max_length, peer.mask_token_id, peer.pad_token_id) == (64, 4, 0)
    for text in SENTENCES:
        assert dict(peer(text, "a [MASK]")) == small.encode(text, "a [MASK]")


def test_google_vocabularies(tmp_path: Path) -> None:
    """Special tokens anywhere, places kept free, Windows line ends, and cut or padded by default."""
    pieces = ["[PAD]", "[unused0]", "cat", "[UNK]", "[CLS]", "##s", "[SEP]", "[MASK]", "##"]
    (tmp_path / "vocab.txt").write_text("".join(f"{p}\r\n" for p in pieces), encoding="utf-8", newline="")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.special_ids.tolist() == [0, 3, 4, 6, 7]
    assert tokenizer.ordinary_ids.tolist() == [2, 5, 8]
    assert tokenizer.continuation.nonzero()[0].tolist() == [5]
    assert tokenizer.encode("Cats")["input_ids"] == [4, 2, 5, 6]

    tokenizer.save(tmp_path)
    padding = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    padding.enable_truncation(3)
    padding.enable_padding(length=9)
    padding.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode("cats cats")["input_ids"] == [4, 2, 5, 2, 5, 6]


@pytest.mark.parametrize("missing", SPECIAL_TOKENS)
def test_a_missing_special_token_is_named(tmp_path: Path, missing: str) -> None:
    kept = [t for t in SPECIAL_TOKENS if t != missing]
    (tmp_path / "vocab.txt").write_text("\n".join([*kept, "cat"]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"vocab\.txt: the vocabulary has no \[" + missing[1:-1]):
        Tokenizer.load(tmp_path)


def test_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor vocab\.txt"):
        Tokenizer.load(tmp_path)
    with pytest.raises(InputError, match=r"nowhere: there is neither"):
        Tokenizer.load(tmp_path / "nowhere")


def test_damaged_files(tmp_path: Path, small: Tokenizer) -> None:
    small.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    whole = file.read_text(encoding="utf-8")
    bpe = tokenizers.Tokenizer(BPE()).to_str()
    even = {token: 2 * i for i, token in enumerate(SPECIAL_TOKENS)}
    holes = tokenizers.Tokenizer(WordPiece(even, unk_token="[UNK]"))
    for text, message in (
        (whole[:300], r"tokenizer\.json:\d+: the file is damaged"),
        ("[]", "holds no JSON object"),
        ('{"model": {"type": "WordPiece"}}', r"tokenizer\.json: the file is damaged \("),
        ("{}", "of type None"),
        (bpe, "of type BPE, but BERT's is WordPiece"),
        (holes.to_str(), "ids are missing or double at 1"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            Tokenizer.load(tmp_path)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="byte 0 is not UTF-8"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(("line", "message"), [("cat", r"vocab\.txt:7: the line repeats line 6"),
                                               ("", r"vocab\.txt:7: the line is empty")])
def test_damaged_vocabulary(tmp_path: Path, line: str, message: str) -> None:
    pieces = [*SPECIAL_TOKENS, "cat", line, "dog"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Tokenizer.load(tmp_path)


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, small: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="disk full"):
        Tokenizer.train(SENTENCES[:2] * 2, 60).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
