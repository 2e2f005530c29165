"""A text's vector is its own: it does not depend on the other texts, their order, the batches or the threads."""

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from models.toys import toy_config, toy_model
from train import tiny

from minibert import BertForPreTraining, BertModel, InputError
from minibert import embed as embedding
from minibert.embed import BATCH_TOKENS, Done, cosines, cut_by_length, embed
from minibert.graph import state
from minibert.text.tokenizer import Tokenizer

TEXTS = ["", *tiny.sentences()[:40], "bama", "[MASK] bama", "doki " * 3]
LONGEST = 17  # of the toy model
Vectors = np.ndarray[Any, Any]


def quiet(done: Done) -> None:
    """Ask for no warning."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(tiny.sentences(), vocab_size=120)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> BertForPreTraining:
    """In float64, so that what is equal in mathematics is nearly equal here."""
    return toy_model(vocab_size=tokenizer.vocab_size)


@pytest.fixture(scope="module")
def expected(model: BertForPreTraining, tokenizer: Tokenizer) -> dict[str, Vectors]:
    """Each text alone, pooled by the definition."""
    states = [model(ids[None]) for ids in map(tokens, tokenizer.ids(TEXTS), [tokenizer] * len(TEXTS))]
    hidden = [output.last_hidden_state.data[0] for output in states]
    return {"mean": np.array([sum(list(rows)) / len(rows) for rows in hidden]),
            "cls": np.array([rows[0] for rows in hidden]),
            "pooler": np.array([output.pooler_output.data[0] for output in states])}


def tokens(ids: Vectors, tokenizer: Tokenizer) -> Vectors:
    return np.array([tokenizer.cls_id, *ids[:LONGEST - 2], tokenizer.sep_id])


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
@pytest.mark.parametrize("batch_tokens", [1, 40, 10**6])
def test_vectors_are_those_of_each_text_alone(pooling: Any, batch_tokens: int, model: BertForPreTraining,
                                              tokenizer: Tokenizer, expected: dict[str, Vectors]) -> None:
    found = embed(model, tokenizer, TEXTS, pooling, threads=2, batch_tokens=batch_tokens)
    assert found.shape == expected[pooling].shape
    np.testing.assert_allclose(found, expected[pooling], rtol=0, atol=1e-12)
    assert np.abs(found - found[:1]).max(axis=1)[1:].min() > 1e-3  # and they do tell texts apart


def test_a_float32_model_gives_float32_to_a_hundred_thousandth(tokenizer: Tokenizer) -> None:
    model = BertModel(toy_config(vocab_size=tokenizer.vocab_size)).eval()
    found = embed(model, tokenizer, TEXTS, watch=quiet)
    assert found.dtype == np.float32 and found.flags.owndata
    np.testing.assert_allclose(found, [embed(model, tokenizer, [text], watch=quiet)[0] for text in TEXTS], atol=1e-5)


def test_the_order_of_the_texts_is_kept_whatever_it_is(model: BertForPreTraining, tokenizer: Tokenizer,
                                                       expected: dict[str, Vectors]) -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    found = embed(model, tokenizer, [TEXTS[i] for i in order], batch_tokens=50)
    np.testing.assert_allclose(found, expected["mean"][order], rtol=0, atol=1e-12)


def test_any_number_of_threads_gives_the_same_bits(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    first, *others = (embed(model, tokenizer, TEXTS, threads=threads, batch_tokens=30) for threads in (1, 2, 5, None))
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("texts", [iter, list, lambda texts: (text for text in texts)])
@pytest.mark.parametrize("window", [1, 7, len(TEXTS), 1000])
def test_texts_may_come_one_by_one(texts: Callable[..., Any], window: int, model: BertForPreTraining,
                                   tokenizer: Tokenizer, expected: dict[str, Vectors],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW", window)
    np.testing.assert_allclose(embed(model, tokenizer, texts(TEXTS)), expected["mean"], rtol=0, atol=1e-12)


def test_an_endless_text_is_read_by_and_by(model: BertForPreTraining, tokenizer: Tokenizer,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 5)
    read = count()

    def stop(done: Done) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(model, tokenizer, (f"bama {next(read)}" for _ in count()), watch=stop)
    assert next(read) <= 10  # one window, and the next one in advance
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("embed")]


def test_no_texts_are_no_vectors(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    for none in ([], iter([])):
        assert embed(model, tokenizer, none).shape == (0, 15)


def test_a_literal_mask_is_ordinary_text(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertModel(toy_config(vocab_size=tokenizer.vocab_size))
    batches = spy(model, monkeypatch)
    embed(model, tokenizer, ["[MASK]"])
    assert tokenizer.mask_id not in batches[0][0]


def test_a_text_that_is_too_long_loses_its_end_but_not_its_sep(model: BertForPreTraining, tokenizer: Tokenizer,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    fits, long = " ".join(["bama"] * (LONGEST - 2)), " ".join(["bama"] * (LONGEST - 2) + ["doso"])
    assert [len(ids) for ids in tokenizer.ids([fits, long])] == [LONGEST - 2, LONGEST - 1]
    with pytest.warns(UserWarning, match="2 of 4 texts have more than the 17 tokens"):
        found = embed(model, tokenizer, [long, "bama", fits, long * 9])
    np.testing.assert_allclose(found[[0, 3]], found[[2, 2]], rtol=0, atol=1e-12)
    batches = spy(model.bert, monkeypatch)
    embed(model, tokenizer, [long], watch=quiet)
    assert batches[0][0].shape == (1, LONGEST) and batches[0][0][0, -1] == tokenizer.sep_id


def test_the_caller_is_told_of_every_batch_and_then_not_warned(model: BertForPreTraining, tokenizer: Tokenizer,
                                                               recwarn: pytest.WarningsRecorder) -> None:
    told: list[Done] = []
    long = "bama " * 30
    embed(model, tokenizer, [*TEXTS, long, long], watch=told.append, batch_tokens=40)
    texts, used, padding, cut = np.array(told).sum(axis=0)
    lengths = [min(len(ids), LONGEST - 2) + 2 for ids in tokenizer.ids([*TEXTS, long, long])]
    assert (texts, used, cut) == (len(TEXTS) + 2, sum(lengths), 2)
    assert len(told) > 1 and 0 < padding < used / 10
    assert not recwarn.list


def spy(model: BertModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Vectors, Vectors | None]]:
    """The ids and the attention mask of every call of the model."""
    seen: list[tuple[Vectors, Vectors | None]] = []
    forward = model.forward

    def watched(ids: Vectors, attention_mask: Vectors | None = None, **options: Any) -> Any:
        seen.append((ids, attention_mask))
        return forward(ids, attention_mask=attention_mask, **options)

    monkeypatch.setattr(model, "forward", watched)
    return seen


def test_only_a_batch_with_padding_has_a_mask(model: BertForPreTraining, tokenizer: Tokenizer,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    seen = spy(model.bert, monkeypatch)
    embed(model, tokenizer, TEXTS, batch_tokens=40)
    assert {mask is None for _, mask in seen} == {True, False}
    for ids, mask in seen:
        np.testing.assert_array_equal(ids != tokenizer.pad_id, True if mask is None else mask)


def test_nothing_is_kept_for_a_backward_pass(model: BertForPreTraining, tokenizer: Tokenizer,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a graph was recorded")

    monkeypatch.setattr("minibert.tensor.Node", refuse)
    embed(model, tokenizer, TEXTS)
    assert state.recording


@pytest.mark.parametrize("fails", [False, True])
def test_dropout_is_off_and_each_module_as_it_was_afterwards(fails: bool, model: BertForPreTraining,
                                                             tokenizer: Tokenizer, expected: dict[str, Vectors]
                                                             ) -> None:
    stream = model.bert.dropout_stream
    assert stream is not None
    model.train()
    model.bert.encoder.eval()  # a mixture
    before, step = [module.training for module in model.modules()], stream.step
    try:
        if fails:
            with pytest.raises(InputError, match=r"texts\[3\] is not Unicode text: give it in UTF-8"):
                embed(model, tokenizer, [*TEXTS[:3], "\udce9"])
        else:
            np.testing.assert_allclose(embed(model, tokenizer, TEXTS), expected["mean"], rtol=0, atol=1e-12)
        assert [module.training for module in model.modules()] == before and stream.step == step
    finally:
        model.eval()


@pytest.mark.parametrize(("change", "message"), [
    ({"pooling": "max"}, "unknown pooling 'max': choose one of mean, cls, pooler"),
    ({"texts": "bama"}, "this is one string"),
    ({"texts": ["bama", 3]}, r"texts\[1\] must be a string, and it is of type int"),
    ({"texts": ["bama", "caf\udce9"]}, r"texts\[1\] is not Unicode text"),
    ({"threads": 0}, "threads must be at least 1, not 0"),
    ({"batch_tokens": 0}, "batch_tokens must be at least 1, not 0"),
    ({"model": {"vocab_size": 9}}, "they do not belong together"),
    ({"model": {"max_position_embeddings": 1}}, "this model reads a single token"),
])
def test_a_mistake_is_answered_by_what_is_wrong(change: dict[str, Any], message: str, tokenizer: Tokenizer) -> None:
    shape = {"vocab_size": tokenizer.vocab_size, **change.pop("model", {})}
    with pytest.raises(InputError, match=message):
        embed(**{"model": BertModel(toy_config(**shape)), "tokenizer": tokenizer, "texts": ["bama"], **change})


def lognormal_lengths(number: int) -> Vectors:
    return np.clip(np.random.default_rng(0).lognormal(3.0, 0.6, number).astype(int), 2, 128)


@pytest.mark.parametrize("number", [1, 2, 33, 8192])
def test_batches_are_full_of_similar_texts(number: int) -> None:
    lengths = lognormal_lengths(number)
    batches = list(cut_by_length(lengths, BATCH_TOKENS))
    assert sorted(np.concatenate(batches)) == list(range(number))
    places = [len(rows) * lengths[rows].max() for rows in batches]
    assert max(places) <= BATCH_TOKENS
    if number == 8192:
        assert sum(places) < 1.02 * lengths.sum()
        assert min(places[:-1]) > 0.8 * BATCH_TOKENS


def test_a_handful_of_texts_still_keeps_several_threads_busy() -> None:
    assert len(list(cut_by_length(lognormal_lengths(100), BATCH_TOKENS))) >= 8


def test_cosines_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    query, vectors = rng.standard_normal(7), rng.standard_normal((5, 7))
    expected = [query @ v / (np.linalg.norm(query) * np.linalg.norm(v)) for v in vectors]
    np.testing.assert_allclose(cosines(query, vectors), expected)
    np.testing.assert_allclose(cosines(query, np.array([3 * query, -query, 0 * query])), [1.0, -1.0, 0.0])
