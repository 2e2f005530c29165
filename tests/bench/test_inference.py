"""The comparison of speeds compares the same work."""

import importlib.util
import json

import numpy as np
import pytest

from minibert import InputError
from minibert.bench import inference
from minibert.bench.inference import (
    compare_inference,
    draw_lengths,
    draw_texts,
    inference_report,
    padding,
    word_tokenizer,
)
from minibert.bench.machine import this_machine
from minibert.bench.shape import Shape

INSTALLED = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
THEIRS = {"transformers", "transformers sorted"} if INSTALLED else set()


def test_all_ways_are_timed_and_their_vectors_agree() -> None:
    found = compare_inference(Shape(1, 16, 2, 50, 2, 40), 1, rounds=2)
    assert found["sentences per second"].keys() == {"minibert", *THEIRS}
    for speeds in found["sentences per second"].values():
        assert len(speeds["rounds"]) == 2 and min(speeds["rounds"]) <= speeds["median"] <= max(speeds["rounds"])
    assert found["largest difference"].keys() == THEIRS
    assert max(found["largest difference"].values(), default=0.0) < 1e-4
    lines = inference_report(found, this_machine()).splitlines()
    assert max(map(len, lines)) <= 80 and lines[-len(found["largest difference"]) - 1].startswith("  minibert")
    json.dumps(found)
    assert (found["sentences"], found["tokens"]) == (64, draw_lengths(64, 40, 0).sum())


def test_the_report_says_how_many_times_as_long_the_others_take() -> None:
    found = compare_inference(Shape(1, 16, 2, 50, 1, 9), 1, rounds=1, peers=False)
    found["sentences per second"] = {"minibert": {"median": 200.0, "rounds": [100.0, 200.0, 400.0]},
                                     "other": {"median": 80.0, "rounds": [25.0, 80.0, 160.0]}}
    ours, theirs = inference_report(found, this_machine()).splitlines()[-2:]
    assert ours.split() == ["minibert", "200", "100", "400", "1.00"]
    assert theirs.split() == ["other", "80", "25", "160", "2.50"]  # of 4, 2.5 and 2.5


def test_texts_have_the_lengths_that_were_drawn() -> None:
    tokenizer, lengths = word_tokenizer(300), draw_lengths(500, 60, seed=3)
    assert [len(ids) + 2 for ids in tokenizer.ids(draw_texts(lengths, tokenizer, seed=3))] == lengths.tolist()
    assert (lengths.min(), lengths.max()) == (5, 60) and 18 <= np.median(lengths) <= 22


def test_padding_is_counted_by_batches() -> None:
    assert padding(np.array([2] * 31 + [4] + [1] * 3)) == pytest.approx(1 - 69 / (32 * 4 + 3))


def test_vectors_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(folder: object, threads: int) -> dict[str, inference.Way]:
        return {"other": lambda texts: np.full((len(texts), 16), np.nan)}

    monkeypatch.setattr(inference, "transformers_ways", wrong)
    with pytest.raises(InputError, match="the vectors of other are nan away from minibert's"):
        compare_inference(Shape(1, 16, 2, 50, 1, 9), 1, rounds=1)
