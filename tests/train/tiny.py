"""A corpus and settings so small that a whole pretraining run takes a second."""

from collections.abc import Sequence
from itertools import cycle, islice, product
from pathlib import Path
from random import Random
from typing import Any

from minibert.train.settings import PretrainSettings

NAMES = [a + b for a, b in product(("ba", "do", "ki", "lu"), ("ma", "ne", "so"))]
STATE, MODEL = "training_state.safetensors", "model.safetensors"


def sentences(words: Sequence[str] = NAMES, between: str = " ") -> list[str]:
    """144 sentences, all different: walks round a circle of twelve words, of which each follows from its neighbour."""
    walks = [islice(cycle(words), start, start + length) for start in range(12) for length in range(3, 15)]
    Random(0).shuffle(walks)
    return [between.join(walk) for walk in walks]


def write_corpus(path: Path, words: Sequence[str] = NAMES, between: str = " ") -> Path:
    """24 documents of six sentences, one a line."""
    lines = sentences(words, between)
    documents = ["\n".join(lines[start:start + 6]) for start in range(0, len(lines), 6)]
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def settings(corpus: Path, **changes: Any) -> PretrainSettings:
    """One layer of width 16 for 40 steps, which is more than an epoch, in steps of five micro-batches."""
    values: dict[str, Any] = {
        "layers": 1, "hidden": 16, "heads": 2, "dropout": 0.1, "vocab_size": 120, "length": 24, "held_out": 0.1,
        "batch": 10, "micro_batch": 2, "steps": 40, "warmup": 3, "save_every": 10, "eval_every": 20}
    return PretrainSettings(corpus=(str(corpus),), **(values | changes))


def quiet(message: str) -> None:
    """Say nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes that must be the same whatever happened on the way: weights, moments, step, and the model."""
    return {name: (folder / name).read_bytes() for name in (STATE, MODEL, "config.json")}
