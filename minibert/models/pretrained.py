"""Models that live in folders, as Hugging Face's do."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from minibert.backend import choose_device
from minibert.interop.hugging_face import load_weights, save_weights
from minibert.models.config import BertConfig
from minibert.nn import Module


class PretrainedModel(Module):
    """A model that is made from a BertConfig, and can be read from a folder and written into one."""

    def __init__(self, config: BertConfig, seed: int = 0, dtype: Any = np.float32, device: str = "cpu") -> None:
        """Every model takes these arguments; here only the configuration is kept."""
        self.config = config

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: Any = np.float32, device: str = "cpu") -> Self:
        """Read a model folder that minibert or Hugging Face's transformers saved; ready for use, dropout off.

        device: "cpu", "cuda" or "auto", see `Module.to`.
        Raises InputError when the folder lacks `config.json` or `model.safetensors`, or one does not fit the other.
        """
        device = choose_device(device)  # what cannot be is said before anything is read
        model = cls(BertConfig.from_pretrained(folder), dtype=dtype)
        load_weights(model, folder)
        return model.eval().to(device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which transformers loads.

        Raises InputError when the disk is full or the folder cannot be written.
        """
        self.config.save_pretrained(folder)
        save_weights(self, folder)
