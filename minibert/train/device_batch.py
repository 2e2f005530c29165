"""A batch in arrays of fixed shapes on a GPU, and all else that differs between two training steps."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from minibert.backend import Array
from minibert.models.labelled import Labelled
from minibert.nn.positions import Positions
from minibert.ops.loss import IGNORE_INDEX
from minibert.train.lanes import cut_batch
from minibert.train.settings import PretrainSettings


class Layout(NamedTuple):
    """The shapes of a batch: those of equal layout are computed by the same operations."""

    examples: int
    length: int
    places: int  # for labels, in each example
    micro_batch: int

    @classmethod
    def of(cls, batch: dict[str, Array], settings: PretrainSettings) -> Self:
        """Room for as many labels as the run masks in a text of this length, or for more if an example has more."""
        examples, length = batch["input_ids"].shape
        usual = max(1, round(settings.mask_rate * length))
        most = int((batch["labels"] != IGNORE_INDEX).sum(axis=1).max())
        assert settings.micro_batch is not None  # a run decides it when it begins
        return cls(examples, length, max(usual, most), settings.micro_batch)


class DeviceBatch:
    """One layout's arrays on the GPU.  `arrays` has the step number, the rates, counts and limit, too, by name."""

    def __init__(self, layout: Layout, batch: dict[str, Array], slots: int) -> None:
        """batch: any batch of this layout; slots: see Mailbox."""
        from minibert.ops.cuda.mailbox import Mailbox

        self.layout = layout
        self._mailbox = Mailbox(self._packed(batch, 0, (0.0, 1.0, 1.0), 0.0), slots)
        self.arrays = self._mailbox.arrays

    def fill(self, batch: dict[str, Array], step: int, rates: tuple[float, float, float], limit: float,
             stream: Any) -> None:
        """Send a batch to the GPU, with its step, the optimiser's rates and the longest gradient that is sound."""
        self._mailbox.fill(self._packed(batch, step, rates, limit), stream)

    def parts(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each micro-batch: the number of its first example, and what the model is called with."""
        x = self.arrays
        inputs = {name: x[name] for name in ("input_ids", "token_type_ids", "attention_mask", "next_sentence_label")}
        for number, (row, part) in enumerate(cut_batch(inputs, self.layout.micro_batch)):
            rows = x[f"examples.{number}"], x[f"columns.{number}"]
            only = Positions(x[f"at.{number}"], self.layout.length)
            yield row, {**part, "labels": Labelled(x[f"words.{number}"], rows, only), "masked_count": x["masked_count"]}

    def _packed(self, batch: dict[str, Array], step: int, rates: tuple[float, float, float], limit: float
                ) -> dict[str, Array]:
        """All that is sent, by name; the fourth rate is the clip factor, which the GPU finds out."""
        packed = {name: batch[name] for name in ("input_ids", "token_type_ids", "next_sentence_label")}
        packed |= {"attention_mask": batch["attention_mask"].astype(bool), "step": np.array(step, np.uint64),
                   "rates": np.array([*rates, 1.0], np.float32), "limit": np.array([limit], np.float32),
                   "masked_count": np.array((batch["labels"] != IGNORE_INDEX).sum(), np.float32)}
        for number, (_, part) in enumerate(cut_batch(batch, self.layout.micro_batch)):
            places = self.layout.places
            labelled = Labelled.alone(part["labels"], places, places * len(part["labels"]))
            assert labelled.only is not None
            packed |= {f"words.{number}": labelled.labels, f"at.{number}": labelled.only.at,
                       f"examples.{number}": labelled.rows[0], f"columns.{number}": labelled.rows[1]}
        return packed
