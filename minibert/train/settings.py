"""Everything that decides how a pretraining run goes; with the seed, it decides every number of the run."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from minibert.errors import InputError
from minibert.files import read_json
from minibert.models.config import KINDS, PRESETS, BertConfig
from minibert.ops.cuda.blas import PRECISIONS
from minibert.text.files import BlankLines


def _flag(default: Any, group: str, help: str, **details: Any) -> Any:
    """A field that is also a command-line flag of the same name."""
    return field(default=default, metadata={"group": group, "help": help, **details})


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Settings of `minibert pretrain`.  Raises InputError when a value is impossible."""

    corpus: tuple[str, ...] = _flag((), "data", "UTF-8 text files to read instead of the documentation of Python, "
                                    "its standard library and NumPy", nargs="+", metavar="FILE")
    blank_lines: BlankLines = _flag("document", "data", "what a blank line ends in your files: a document (each line "
                                    "is a paragraph), or only a paragraph (each file is a document)",
                                    choices=("document", "paragraph"))
    numpy_docs: bool = _flag(True, "data", "read NumPy's documentation, too, for the default corpus")
    vocab_size: int = _flag(3000, "data", "pieces in the WordPiece vocabulary")
    cased: bool = _flag(False, "data", "keep upper case and accents")
    held_out: float = _flag(0.05, "data", "share of the words kept apart, in whole documents, to evaluate on")
    length: int = _flag(64, "data", "tokens in a sentence pair, special tokens included")
    mask_rate: float = _flag(0.4, "data", "share of the tokens to predict while training (BERT: 0.15); evaluation "
                             "predicts 0.15. 80 %% of them become [MASK], 10 %% a random piece, 10 %% stay")
    whole_word: bool = _flag(False, "data", "mask all pieces of a word together")
    short_pairs: float = _flag(0.1, "data", "share of the pairs that are made shorter on purpose")

    preset: str = _flag("tiny", "model", "a well-known shape; the flags below override parts of it",
                        choices=tuple(PRESETS))
    layers: int | None = _flag(None, "model", "encoder layers", type=int)
    hidden: int | None = _flag(None, "model", "width of every vector", type=int)
    heads: int | None = _flag(None, "model", "attention heads; they divide the width", type=int)
    width: int | None = _flag(None, "model", "width of the feed-forward networks [4 x hidden]", type=int)
    activation: str = _flag("gelu", "model", "gelu is exact, gelu_new is its tanh approximation",
                            choices=("gelu", "gelu_new", "relu", "tanh"))
    positions: str = _flag("absolute", "model", "absolute: a learned vector for each position; or sinusoidal",
                           choices=("absolute", "sinusoidal"))
    norm: str = _flag("post", "model", "layer normalisation after each residual sum (BERT), or before each sub-layer",
                      choices=("post", "pre"))
    dropout: float = _flag(0.0, "model", "probability of dropping a number, while training")
    start: str = _flag("counts", "model", "initial weights: counts takes word vectors, output bias and the heads' "
                       "first looks from word counts, which saves thousands of steps; random is plain BERT",
                       choices=("counts", "random"))
    init_std: float = _flag(0.03, "model", "deviation of the initial weights (BERT: 0.02)")

    steps: int = _flag(9000, "training", "updates of the weights")
    batch: int = _flag(16, "training", "sentence pairs an update")
    micro_batch: int | None = _flag(None, "training", "pairs that a thread computes at a time: small parts stay in "
                                    "the cache and bound the memory of any --batch, and do not change the result "
                                    "beyond rounding [by shapes and cache]", type=int)
    recompute: bool = _flag(False, "training", "keep only each layer's input for the backward pass and compute the "
                            "rest twice: about a quarter slower, in less memory")
    lr: float | None = _flag(None, "training", "peak learning rate: reached after the warm-up, 0 at the end [0.32 / "
                             "width of the vectors: 0.0025 for tiny, 0.0004 for base]", type=float)
    warmup: int = _flag(200, "training", "updates until the learning rate has risen to its peak")
    weight_decay: float = _flag(0.01, "training", "pull of AdamW towards 0, on matrices only")
    beta1: float = _flag(0.9, "training", "how slowly AdamW's mean gradient changes")
    beta2: float = _flag(0.98, "training", "how slowly AdamW's mean squared gradient changes")
    eps: float = _flag(1e-6, "training", "AdamW's epsilon")
    bias_correction: bool = _flag(True, "training", "AdamW's bias correction (Google's BERT had none)")
    clip: float = _flag(1.0, "training", "largest length of the whole gradient; longer ones are scaled down")
    spike: float = _flag(100.0, "training", "stop, and write a black box, when the gradient is so many times longer "
                         "than in the steps before; 0 never does")
    precision: str = _flag("float32", "training", "of matrix products on a GPU: tf32 and bfloat16 see their factors "
                           "with 10 and 7 bits after the point, for speed; sums, weights and all else stay float32",
                           choices=PRECISIONS)
    seed: int = _flag(0, "training", "of everything random: the same seed gives the same run")

    eval_every: int = _flag(500, "output", "updates between evaluations on the held-out documents")
    save_every: int = _flag(500, "output", "updates between saves; a stop in between repeats the updates since")

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("vocab_size", "layers", "hidden", "heads", "width", "steps", "batch", "micro_batch", "eval_every",
                     "save_every"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("held_out", "mask_rate"):
            self._require(name, 0.0 < getattr(self, name) < 1.0, "above 0 and below 1")
        for name in ("dropout", "beta1", "beta2"):
            self._require(name, 0.0 <= getattr(self, name) < 1.0, "at least 0 and below 1")
        for name in ("lr", "eps", "init_std"):
            value = getattr(self, name)
            self._require(name, value is None or 0.0 < value < float("inf"), "a number above 0")
        self._require("weight_decay", 0.0 <= self.weight_decay < float("inf"), "a number of at least 0")
        self._require("short_pairs", 0.0 <= self.short_pairs <= 1.0, "between 0 and 1")
        self._require("clip", self.clip > 0.0, "above 0")
        self._require("spike", self.spike == 0.0 or 1.0 < self.spike < float("inf"), "0, or a number above 1")
        self._require("seed", 0 <= self.seed < 1 << 64, "at least 0 and below 2**64")
        self._require("warmup", 0 <= self.warmup < self.steps, f"at least 0 and below --steps {self.steps}")
        self._require("length", self.length >= 8, "at least 8: two sentences and three special tokens")

    def _check_kinds(self) -> None:
        """Values may come from a file that somebody has edited."""
        self._require("corpus", isinstance(self.corpus, tuple) and all(isinstance(file, str) for file in self.corpus),
                      "a list of file names")
        for f in fields(self):
            value, example = getattr(self, f.name), f.metadata["type"]() if f.default is None else f.default
            if f.name != "corpus" and not (value is None and f.default is None):
                kinds, what = KINDS[type(example)]
                self._require(f.name, isinstance(value, kinds) and isinstance(value, bool) is isinstance(example, bool),
                              what)
                choices = f.metadata.get("choices", (value,))
                self._require(f.name, value in choices, f"one of {', '.join(map(str, choices))}")

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"--{name.replace('_', '-')} must be {what}, not {getattr(self, name)!r}")

    def model_config(self, vocab_size: int) -> BertConfig:
        """The model these settings describe, for a vocabulary that came out at `vocab_size` pieces."""
        shape = {"num_hidden_layers": self.layers, "hidden_size": self.hidden, "num_attention_heads": self.heads,
                 "intermediate_size": self.width or (4 * self.hidden if self.hidden else None)}
        return BertConfig.preset(
            self.preset, **{name: value for name, value in shape.items() if value is not None}, vocab_size=vocab_size,
            max_position_embeddings=self.length, hidden_act=self.activation, hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout, position_embedding_type=self.positions,
            norm_position=self.norm, initializer_range=self.init_std)

    def peak_lr(self, config: BertConfig) -> float:
        """The learning rate at the end of the warm-up: wider models bear only smaller ones."""
        return self.lr or 0.32 / config.hidden_size

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read what a run saved.  Raises InputError when the file is missing, damaged or foreign."""
        values = read_json(path, "this folder holds no pretraining run to continue; `minibert pretrain` starts one")
        others = values.keys() ^ {f.name for f in fields(cls)}
        if others:
            raise InputError(f"{path} has settings that this version does not know, or lacks some of its own "
                             f"({', '.join(sorted(others))}): another version wrote it")
        if isinstance(values.get("corpus"), list):  # JSON has no tuples
            values["corpus"] = tuple(values["corpus"])
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
