"""A run folder: a Hugging Face model folder, plus what training needs to go on."""

import json
from dataclasses import dataclass
from pathlib import Path

from minibert.errors import InputError
from minibert.files import TEMPORARY, write_atomically
from minibert.text.tokenizer import Tokenizer
from minibert.train.corpus import TokenisedCorpus
from minibert.train.metrics import MetricsLog
from minibert.train.settings import PretrainSettings


@dataclass(frozen=True)
class RunFolder:
    """The files of a run, by what they are for."""

    path: Path

    @property
    def settings(self) -> Path:
        """The settings; written last when a run is prepared, so that its presence means the rest is there."""
        return self.path / "settings.json"

    @property
    def corpus(self) -> Path:
        """The tokenised text."""
        return self.path / "corpus.safetensors"

    @property
    def state(self) -> Path:
        """Weights, moments and step: see `minibert.train.checkpoint`."""
        return self.path / "training_state.safetensors"

    @property
    def black_box(self) -> Path:
        """What the last steps were like, where training came to grief: see `minibert.train.black_box`."""
        return self.path / "black_box.json"

    @property
    def black_box_state(self) -> Path:
        """The state just before the step at which it came to grief, in the form of `state`."""
        return self.path / "black_box.safetensors"

    @property
    def metrics(self) -> MetricsLog:
        """Losses and accuracies by step."""
        return MetricsLog(self.path / "metrics.jsonl")

    def refuse_existing(self) -> None:
        """Raises InputError when the folder holds a run or a model already, which training would overwrite."""
        for name in (self.settings.name, "config.json", "model.safetensors"):
            if (self.path / name).exists():
                raise InputError(f"{self.path} already holds a run or a model: `minibert pretrain --resume "
                                 f"{self.path}` continues a run, another --out starts a new one")

    def remove_leftovers(self) -> None:
        """Delete files that a killed process was still writing."""
        for path in self.path.glob(TEMPORARY.format(name="*", process="[0-9]*")):
            if path.is_file():
                path.unlink(missing_ok=True)

    def prepare(self, settings: PretrainSettings, tokenizer: Tokenizer, corpus: TokenisedCorpus) -> None:
        """Write what stays the same during the run."""
        tokenizer.save(self.path, settings.length)
        corpus.save(self.corpus)
        write_atomically(self.settings, (json.dumps(settings.to_dict(), indent=2) + "\n").encode())


def next_free_folder(parent: Path = Path("runs")) -> Path:
    """runs/pretrain-1, or the first number after it that is not taken."""
    number = 1
    while (parent / f"pretrain-{number}").exists():
        number += 1
    return parent / f"pretrain-{number}"
