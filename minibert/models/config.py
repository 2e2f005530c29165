"""`BertConfig`: the numbers that define a model, under Hugging Face's names."""

import difflib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from minibert.errors import InputError
from minibert.files import read_json, write_atomically
from minibert.nn.layers import ACTIVATIONS

# What a model folder may say beyond BertConfig's fields without changing what the model computes.
BOOKKEEPING = {
    "_name_or_path", "architectures", "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "dtype",
    "eos_token_id", "finetuning_task", "gradient_checkpointing", "id2label", "is_encoder_decoder", "label2id",
    "model_type", "output_attentions", "output_hidden_states", "problem_type", "return_dict", "torch_dtype",
    "transformers_version", "use_cache", "directionality", "output_past", "pooler_fc_size",
    "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    "_attn_implementation_autoset", "sep_token_id", "tokenizer_class", "torchscript", "xla_device",
}
MUST_BE_OFF = ("is_decoder", "add_cross_attention")  # these make another model of it
KINDS: dict[Any, tuple[Any, str]] = {int: (int, "a whole number"), float: (int | float, "a number"),
                                     bool: (bool, "True or False"), str: (str, "a name")}
PRESETS = {  # layers, hidden, heads: Turc et al. 2019 (arXiv:1908.08962), whose tiny has two heads; width 4 x hidden
    "tiny": (2, 128, 4),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "base": (12, 768, 12),
}


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Shape and constants of a BERT.  Raises InputError when a value is impossible or two contradict.

    position_embedding_type: "absolute" (learned, BERT's own) or "sinusoidal".
    norm_position: "post" (BERT's own) or "pre".
    The last two have no counterpart in Hugging Face's BERT when they differ from BERT's own.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    tie_word_embeddings: bool = True
    position_embedding_type: str = "absolute"
    norm_position: str = "post"

    def __post_init__(self) -> None:
        for f in fields(self):
            kinds, what = KINDS[f.type]
            value = getattr(self, f.name)
            self._require(f.name, isinstance(value, kinds) and (f.type is bool or not isinstance(value, bool)), what)
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                     "max_position_embeddings", "type_vocab_size"):
            self._require(name, getattr(self, name) >= 1, "a whole number of at least 1")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            self._require(name, 0.0 <= getattr(self, name) < 1.0, "at least 0 and below 1")
        self._require("initializer_range", self.initializer_range > 0, "above 0")
        self._require("layer_norm_eps", self.layer_norm_eps > 0, "above 0")
        self._require("pad_token_id", 0 <= self.pad_token_id < self.vocab_size, f"below vocab_size {self.vocab_size}")
        self._choose("hidden_act", tuple(ACTIVATIONS))
        self._choose("position_embedding_type", ("absolute", "sinusoidal"))
        self._choose("norm_position", ("post", "pre"))
        if self.hidden_size % self.num_attention_heads:
            raise InputError(f"hidden_size {self.hidden_size} is not divisible by num_attention_heads "
                             f"{self.num_attention_heads}: every head gets an equal slice of the hidden vector")

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"{name} must be {what}, not {getattr(self, name)!r}")

    def _choose(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise InputError(f"{name} {getattr(self, name)!r} is not supported: choose one of {', '.join(choices)}")

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """One of the published small shapes: tiny, mini, small or base, with any field overridden."""
        if name not in PRESETS:
            raise InputError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
        layers, hidden, heads = PRESETS[name]
        shape = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
                 "intermediate_size": 4 * hidden}
        return cls(**(shape | overrides))

    @property
    def is_hugging_face(self) -> bool:
        """Whether Hugging Face's BERT computes the same from the same weights."""
        return self.position_embedding_type == "absolute" and self.norm_position == "post"

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "the configuration") -> Self:
        """A configuration from Hugging Face's keys.

        Raises InputError for a field that is neither BertConfig's nor known bookkeeping: it might change what
        the model computes.
        """
        if values.get("model_type", "bert") not in ("bert", "minibert"):
            raise InputError(f"{source} describes a model of type {values['model_type']!r}, "
                             f"and only bert can be loaded")
        names = {f.name for f in fields(cls)}
        for key, value in values.items():
            if key in MUST_BE_OFF and value:
                raise InputError(f"{source} sets {key}: that is a decoder, and minibert is an encoder")
            if key not in names | BOOKKEEPING | set(MUST_BE_OFF):
                close = difflib.get_close_matches(key, names, 1)
                raise InputError(f"{source} has an unknown field {key!r}" + (f": did you mean {close[0]!r}?" if close
                                 else ", which might change what the model computes: remove it if it does not"))
        try:
            return cls(**{key: value for key, value in values.items() if key in names})
        except (InputError, TypeError) as error:
            raise InputError(f"{source}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Hugging Face's keys and values; a shape it has no counterpart for is marked as model_type minibert."""
        values = asdict(self)
        if self.is_hugging_face:
            del values["norm_position"]
        return {"architectures": ["BertForPreTraining"],
                "model_type": "bert" if self.is_hugging_face else "minibert", **values}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `config.json` of a model folder."""
        path = Path(folder) / "config.json"
        return cls.from_dict(read_json(path, "a model folder has one"), str(path))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a model folder."""
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        write_atomically(Path(folder) / "config.json", text.encode())
