"""Sentences a second through the encoder: minibert, and transformers where it is installed.

Both go from text to vectors (the mean over the tokens), with the same weights, tokenizer library and text. Three ways:

    minibert              `embed`: sorted by length, one batch a thread
    transformers          batches of 32 in the order given, padded to the longest, which is what most people write
    transformers sorted   the same, of texts sorted by length, the longest first
"""

import importlib
import statistics
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minibert.backend import Array
from minibert.bench.machine import Machine
from minibert.bench.report import WIDTH, count, describe
from minibert.bench.rounds import PAUSE
from minibert.bench.shape import Shape
from minibert.embed import embed
from minibert.errors import InputError
from minibert.models import BertConfig, BertModel
from minibert.text.tokenizer import Tokenizer
from minibert.text.tokenizer_files import bert_pipeline
from minibert.text.wordpiece import SPECIAL_TOKENS

MEDIAN, SIGMA, SHORTEST = 20, 0.6, 5  # of the log-normal lengths, in tokens, [CLS] and [SEP] among them
BATCH = 32
TOLERANCE = 1e-4
SENTENCES = 32  # for each sequence of a step's batch
ROUNDS = 3
Way = Callable[[list[str]], Array]


def compare_inference(shape: Shape, threads: int, rounds: int = ROUNDS, seed: int = 0, peers: bool = True
                      ) -> dict[str, Any]:
    """Time the ways in turn, `rounds` times, and check that their vectors agree.

    shape: its batch decides how many sentences there are, SENTENCES for each, and its length how long they may be.
    peers: whether transformers takes part, where it is installed.
    Returns the setting, and for each way the median of its sentences a second, every round's, and how far its
    vectors are from minibert's.  Raises InputError when they differ by more than TOLERANCE.
    """
    longest, sentences = max(shape.length, SHORTEST), SENTENCES * shape.batch
    config = BertConfig(vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
                        num_attention_heads=shape.heads, intermediate_size=shape.width, max_position_embeddings=longest)
    model, tokenizer = BertModel(config, seed), word_tokenizer(shape.vocabulary)
    lengths = draw_lengths(sentences, longest, seed)
    texts = draw_texts(lengths, tokenizer, seed)
    ways: dict[str, Way] = {"minibert": lambda some: embed(model, tokenizer, some, threads=threads)}
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            tokenizer.save(folder, longest)
            ways |= transformers_ways(Path(folder), threads)
    vectors = {name: way(texts) for name, way in ways.items()}  # and everything is warm
    return {"shape": asdict(shape), "threads": threads, "sentences": sentences, "tokens": int(lengths.sum()),
            "seed": seed, "lengths": f"log-normal, median {MEDIAN}, sigma {SIGMA}, within {SHORTEST} .. {longest}",
            "padding in given order": padding(lengths),
            "sentences per second": _speeds(ways, texts, rounds),
            "largest difference": _differences(vectors)}


def draw_lengths(sentences: int, longest: int, seed: int) -> Array:
    """Tokens of each sentence, [CLS] and [SEP] among them: (N,) of SHORTEST .. longest."""
    drawn = np.random.default_rng(seed).lognormal(np.log(MEDIAN), SIGMA, sentences)
    return np.clip(drawn.astype(np.int64), SHORTEST, longest)


def word_tokenizer(vocab_size: int) -> Tokenizer:
    """A vocabulary whose every piece is a word, so that a text has as many tokens as words."""
    words = [f"w{i}" for i in range(vocab_size - len(SPECIAL_TOKENS))]
    return Tokenizer(bert_pipeline([*SPECIAL_TOKENS, *words], lowercase=True))


def draw_texts(lengths: Array, tokenizer: Tokenizer, seed: int) -> list[str]:
    """Sentences of random words that have these lengths as tokens."""
    rng = np.random.default_rng(seed + 1)
    return [" ".join(map(tokenizer.token, rng.choice(tokenizer.ordinary_ids, length - 2))) for length in lengths]


def padding(lengths: Array) -> float:
    """The share of places that hold padding when BATCH sentences after another are padded to their longest."""
    places = sum(len(part) * int(part.max()) for part in np.split(lengths, range(BATCH, len(lengths), BATCH)))
    return 1.0 - int(lengths.sum()) / places


def transformers_ways(folder: Path, threads: int) -> dict[str, Way]:
    """What transformers makes of a model folder, in two ways; nothing where it or PyTorch is not installed."""
    try:
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError:
        return {}
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()

    def one(texts: list[str]) -> Array:
        batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
        return ((states * mask).sum(1) / mask.sum(1)).numpy()

    def in_order(texts: list[str]) -> Array:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                return np.concatenate([one(texts[i:i + BATCH]) for i in range(0, len(texts), BATCH)])
        finally:
            torch.set_num_threads(before)

    def by_length(texts: list[str]) -> Array:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        return in_order([texts[row] for row in order])[np.argsort(order)]

    return {"transformers": in_order, "transformers sorted": by_length}


def _speeds(ways: dict[str, Way], texts: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Sentences a second of each way: one after the other in every round, so that all meet the same disturbances."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            way(texts)
            found[name].append(len(texts) / (time.perf_counter() - begin))
    return {name: {"median": statistics.median(speeds), "rounds": speeds} for name, speeds in found.items()}


def _differences(vectors: dict[str, Array]) -> dict[str, float]:
    """How far each way's vectors are from minibert's, at most."""
    found = {name: float(np.abs(v - vectors["minibert"]).max()) for name, v in vectors.items() if name != "minibert"}
    for name, difference in found.items():
        if not difference <= TOLERANCE:
            raise InputError(f"the vectors of {name} are {difference:.1e} away from minibert's: nothing to compare")
    return found


def inference_report(found: dict[str, Any], machine: Machine) -> str:
    """What `compare_inference` returns, as text for a terminal of 80 columns."""
    shape = Shape(**found["shape"])
    lines = [describe(shape, machine, count(found["threads"], "thread")),
             *textwrap.wrap(f"{found['sentences']:,} sentences of {found['tokens']:,} tokens ({found['lengths']}); in "
                            f"batches of {BATCH} in the order given, {found['padding in given order']:.0%} would be "
                            f"padding. x is the time that it takes, as a multiple of minibert's", WIDTH), "",
             f"{'sentences a second':<36}{'median':>12}{'min':>9}{'max':>9}{'x':>9}"]
    speeds = found["sentences per second"]
    for name, speed in speeds.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(speeds["minibert"]["rounds"], speed["rounds"],
                                                                        strict=True))
        lines.append(f"  {name:<34}{speed['median']:>12,.0f}{min(speed['rounds']):>9,.0f}{max(speed['rounds']):>9,.0f}"
                     f"{ratio:>9.2f}")
    return "\n".join(lines)
