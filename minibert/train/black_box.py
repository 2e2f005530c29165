"""The black box of a run: what its last steps were like, written when training comes to grief.

While all is well it only keeps a few numbers of each step. When a loss or gradient is not a number, or the gradient is
far longer than usual, the state of the run just before that step is still whole: it goes into a file of its own,
beside the last save and never over it, so that the step can be looked into at leisure.

Far longer means --spike times the median. Sound runs stay below 3 times, and with ten times the default learning rate
one reached 8.
"""

import hashlib
import json
import math
from collections import deque
from dataclasses import asdict, dataclass
from statistics import median

from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.models.pretraining import BertForPreTraining
from minibert.optim import AdamW
from minibert.train.checkpoint import save_checkpoint
from minibert.train.run import RunFolder
from minibert.train.settings import PretrainSettings

STEPS = 50  # kept
FEWEST = 20  # steps to compare with, also after a resume: before, no length is unusual


class Diverged(InputError):
    """Training has come to grief at `step`, for this `reason`; the black box is in `run`, if it was `recorded`."""

    def __init__(self, step: int, reason: str, run: RunFolder, problem: str = "") -> None:
        self.step, self.reason, self.run, self.recorded = step, reason, run, not problem
        box = f"its black box could not be written ({problem})" if problem else (
            f"the last steps are in {run.black_box}, and `minibert replay {run.path} --step {step}` steps through this "
            f"one")
        super().__init__(f"training stopped at step {step}, because {reason}; {box}; start again with a smaller --lr "
                         f"or a longer --warmup; what the run had saved is kept")


@dataclass(frozen=True)
class StepRecord:
    """One step in small numbers.  batch: which one of the run's, from 0; clip: what the gradient is multiplied by."""

    step: int
    batch: int
    masked_loss: float
    pair_loss: float
    gradient_norm: float
    lr: float
    clip: float


class BlackBox:
    """Watches the steps of a run, each before its update of the weights."""

    def __init__(self, run: RunFolder, settings: PretrainSettings, model: BertForPreTraining,
                 optimizer: AdamW) -> None:
        self.run, self.settings, self.model, self.optimizer = run, settings, model, optimizer
        self.records: deque[StepRecord] = deque(maxlen=STEPS)

    def limit(self) -> float:
        """How long a gradient may be, judging by the steps so far; infinite where there are too few to tell."""
        if not self.settings.spike or len(self.records) < FEWEST:
            return math.inf
        return self.settings.spike * median(before.gradient_norm for before in self.records) or math.inf

    def watch(self, record: StepRecord, limit: float) -> None:
        """Remember a step.  Raises Diverged, and writes the black box, when the weights must not follow it.

        limit: what `limit` said when the step was begun.
        """
        reason = self.what_is_wrong(record, limit)
        self.records.append(record)
        if reason:
            try:
                self._write(record, reason)
            except (InputError, OSError) as error:
                raise Diverged(record.step, reason, self.run, str(error)) from error
            raise Diverged(record.step, reason, self.run)

    def what_is_wrong(self, record: StepRecord, limit: float) -> str:
        """Why the weights must not follow a step, in words; empty when they may."""
        for name, value in (("masked-word loss", record.masked_loss), ("next-sentence loss", record.pair_loss),
                            ("length of the gradient", record.gradient_norm)):
            if not math.isfinite(value):
                return f"the {name} is {value}"
        if record.gradient_norm > limit:
            times = record.gradient_norm / limit * self.settings.spike
            return (f"the gradient has length {record.gradient_norm:.4g}, {times:.4g} times the median of the steps "
                    f"before it (--spike {self.settings.spike:g})")
        return ""

    def _write(self, record: StepRecord, reason: str) -> None:
        """The state first: a description that is there belongs to the state beside it."""
        self.run.black_box.unlink(missing_ok=True)
        save_checkpoint(self.run.black_box_state, self.model, self.optimizer, self.settings.seed)
        description = {
            "step": record.step, "reason": reason, "state": self.run.black_box_state.name,
            "state_is": f"weights, moments and step just before step {record.step} is computed",
            "settings": self.run.settings.name, "settings_sha256": _digest(self.run),
            "look_into_it": f"minibert replay {self.run.path} --step {record.step}",
            "steps": [{name: _json(value) for name, value in asdict(r).items()} for r in self.records]}
        write_atomically(self.run.black_box, (json.dumps(description, indent=2, allow_nan=False) + "\n").encode())


def _digest(run: RunFolder) -> str:
    return hashlib.sha256(run.settings.read_bytes()).hexdigest()


def _json(value: float) -> float | str:
    """JSON has no NaN and no infinity: their names instead."""
    return value if math.isfinite(value) else str(value)
