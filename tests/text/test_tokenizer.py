"""The tokenizer: the same on every run, and faithful to text of any script."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from minibert.errors import InputError
from minibert.text.documents import Document
from minibert.text.tokenizer import Tokenizer
from minibert.text.wordpiece import SPECIAL_TOKENS

SENTENCES = [
    "the cat sat on the mat", "the cats are sitting on mats", "a cat eats a rat", "rats sat",
    "Ein Kätzchen saß", "кот сидел на ковре", "коты сидели на коврах",
    "\u732b\u304c\u5ea7\u3063\u305f", "\u732b\u306f\u5ea7\u308b",
] * 3
TRAIN = """
import hashlib, sys
from minibert.text.tokenizer import Tokenizer
sentences = sys.stdin.buffer.read().decode("utf-8").split("\\n")
t = Tokenizer.train(sentences, 600)
print([t.token(i) for i in range(t.vocab_size)])
"""


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return Tokenizer.train(SENTENCES, vocab_size=150)


def test_training_is_the_same_in_every_process(corpus: list[Document]) -> None:
    text = "\n".join(s for d in corpus[:40] for s in d.sentences)
    printed = set()
    for hash_seed, threads in (("1", "true"), ("2", "false"), ("3", "true")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TOKENIZERS_PARALLELISM": threads}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", TRAIN],
            input=text.encode(), env=environment, capture_output=True, check=True,
        )
        assert done.stderr == b""
        printed.add(done.stdout)
    assert len(printed) == 1


def test_ids_do_not_depend_on_the_order_of_sentences() -> None:
    forward, backward = (Tokenizer.train(s, 90) for s in (SENTENCES, SENTENCES[::-1]))
    assert [forward.token(i) for i in range(90)] == [backward.token(i) for i in range(90)]


def test_of_equally_frequent_characters_the_first_in_the_alphabet_are_kept() -> None:
    for sentences in (["a b c d", "e f g h"] * 2, ["h g f e", "d c b a"] * 2):
        tokenizer = Tokenizer.train(sentences, vocab_size=10)   # three places for characters
        assert [tokenizer.token(i) for i in range(5, tokenizer.vocab_size)] == ["a", "b", "c"]


def test_special_tokens_come_first(small: Tokenizer) -> None:
    assert [small.token(i) for i in range(5)] == list(SPECIAL_TOKENS)
    assert (small.pad_id, small.unk_id, small.cls_id, small.sep_id, small.mask_id) == (0, 1, 2, 3, 4)
    assert small.special_ids.tolist() == [0, 1, 2, 3, 4]
    assert small.ordinary_ids.tolist() == list(range(5, small.vocab_size))


def test_vocabulary_size_is_kept_and_used(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 2000
    assert len(tokenizer.continuation) == 2000
    pieces = [tokenizer.token(i) for i in range(2000)]
    assert len(set(pieces)) == 2000
    assert tokenizer.continuation.tolist() == [p.startswith("##") and p != "##" for p in pieces]
    assert 300 < tokenizer.continuation.sum() < 1500


def test_words_are_cut_and_joined_again(small: Tokenizer) -> None:
    pieces = [small.token(i) for i in small.ids(["the ratting sat"])[0]]
    assert "".join(pieces).replace("##", "") == "therattingsat"
    assert any(p.startswith("##") for p in pieces)
    assert small.decode(small.ids(["the ratting sat"])[0]) == "the ratting sat"


@pytest.mark.parametrize("text", ["кот сидел", "\u732b \u306f", "katzchen sa\u00df"])
def test_other_scripts_have_pieces(small: Tokenizer, text: str) -> None:
    (ids,) = small.ids([text])
    assert small.unk_id not in ids
    assert small.decode(ids) == text


def test_accents_and_capitals() -> None:
    uncased = Tokenizer.train(SENTENCES, 150)
    cased = Tokenizer.train(SENTENCES, 150, lowercase=False)
    assert uncased.decode(uncased.ids(["K\u00c4TZCHEN"])[0]) == "katzchen"
    assert cased.decode(cased.ids(["K\u00e4tzchen"])[0]) == "K\u00e4tzchen"


def test_what_occurs_once_is_unknown() -> None:
    assert Tokenizer.train([*SENTENCES, "\u2603"], 150).ids(["\u2603"])[0].tolist() == [1]


def test_single_characters_do_not_fill_a_small_vocabulary() -> None:
    chinese = ["".join(map(chr, range(0x4e00, 0x4e00 + 500))), "some english words here"] * 5
    tokenizer = Tokenizer.train(chinese, vocab_size=200)
    assert tokenizer.vocab_size <= 200
    assert sum(len(tokenizer.token(i)) == 1 for i in range(tokenizer.vocab_size)) <= 150


def test_special_tokens_in_a_corpus_are_text(small: Tokenizer) -> None:
    (ids,) = small.ids(["a [SEP] cat [MASK]"])
    assert not set(ids.tolist()) & {small.sep_id, small.mask_id}


def test_encode_reads_mask_and_lays_out_a_pair(small: Tokenizer) -> None:
    encoded = small.encode("the [MASK] sat", "a rat")
    first, second = (ids.tolist() for ids in small.ids(["the", "sat"]))
    pair = small.ids(["a rat"])[0].tolist()
    assert encoded["input_ids"] == [2, *first, small.mask_id, *second, 3, *pair, 3]
    assert encoded["token_type_ids"] == [0] * (len(first) + len(second) + 3) + [1] * (len(pair) + 1)
    assert encoded["attention_mask"] == [1] * len(encoded["input_ids"])
    assert set(small.encode("the cat")["token_type_ids"]) == {0}
    assert small.decode(small.encode("the [MASK] sat")["input_ids"]) == "[CLS] the [MASK] sat [SEP]"
    assert small.decode(small.encode("the [MASK] sat")["input_ids"], skip_special=True) == "the sat"


def test_encode_is_that_of_the_library_at_every_length(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path)
    peer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    long = "the cat sat on mats"
    for first, second in ((long, "a rat"), ("a rat", long), ("a cat", "a rat"), (long, long)):
        for length in range(3, 16):
            peer.enable_truncation(length)
            expected = peer.encode(first, second)
            assert small.encode(first, second, length)["input_ids"] == expected.ids
            assert small.encode(first, second, length)["token_type_ids"] == expected.type_ids
            assert small.encode(first, max_length=length)["input_ids"] == peer.encode(first).ids
    with pytest.raises(InputError, match=r"max_length is 2, but.*need 3"):
        small.encode("a", "b", 2)


def test_token_outside_the_vocabulary(small: Tokenizer) -> None:
    for id in (-1, small.vocab_size):
        with pytest.raises(IndexError, match=f"id {id} is outside"):
            small.token(id)


def test_training_needs_text_and_room() -> None:
    with pytest.raises(InputError, match="size is 5, but 5 places go to special tokens"):
        Tokenizer.train(SENTENCES, 5)
    with pytest.raises(InputError, match="with 0 sentences"):
        Tokenizer.train([], 100)


def test_ids_are_int64(small: Tokenizer) -> None:
    assert all(ids.dtype == np.int64 for ids in small.ids(["a cat", "", "rats"]))
    assert [len(ids) for ids in small.ids([""])] == [0]
