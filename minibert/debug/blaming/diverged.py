"""What brought a run to grief: its black box, opened."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from minibert.backend import Array
from minibert.debug.blaming.blame import blame
from minibert.debug.blaming.evidence import peak
from minibert.debug.blaming.report import Blame
from minibert.debug.replaying.training_step import TrainingStep
from minibert.debug.show import table
from minibert.errors import InputError
from minibert.files import read_json
from minibert.tensor import Tensor
from minibert.train.checkpoint import load_checkpoint
from minibert.train.lanes import single_threaded_blas
from minibert.train.pretrain import Loaded

MOST = 5  # rows of a table
COLUMNS = {"masked loss": "masked_loss", "pair loss": "pair_loss", "gradient": "gradient_norm", "lr": "lr"}
Gradients = dict[str, Array]  # by the name of the parameter
Record = dict[str, float | str]  # a `StepRecord`, with "nan" and "inf" as text


def explain(folder: Path) -> str:
    """Compute the step at which a run came to grief once more, and name the operation to blame, in words.

    Where all is finite (the gradient was only far too long), it says which parameters and which examples have the
    longest gradients, and where numbers grow most.
    Raises InputError when the folder holds no black box, or a damaged one.
    """
    step, records = load_failed_step(folder)
    parts: list[tuple[str, float, str]] = []  # examples, length of their gradient, what `blame` says of them
    whole: Gradients = {}
    with single_threaded_blas(), np.errstate(all="ignore"):
        for row, part in step.parts():
            loss = step.loss(row, part)
            found = blame(loss)
            examples = f"{row} to {row + len(part['input_ids']) - 1}"
            if found.kind == "nan":
                first = f"Step {step.number}, examples {examples} of its batch."
                return "\n\n".join((first, _without_caller(found), _before(records), _weights(step)))
            gradients = _gradients(loss)
            whole = {name: dx + whole[name] if name in whole else dx for name, dx in gradients.items()}
            parts.append((examples, _length(gradients), _without_caller(found)))
    return _where_it_is_long(step, parts, whole) + "\n\n" + _before(records)


def load_failed_step(folder: Path) -> tuple[TrainingStep, list[Record]]:
    """The step of a black box, with everything as it was just before; and the records of the last steps.

    Raises InputError when the folder holds no black box, or a damaged one.
    """
    loaded = Loaded.read(folder)
    description = read_json(loaded.run.black_box, "this run has written no black box: it has not come to grief")
    model, optimizer = loaded.begin()
    load_checkpoint(loaded.run.black_box_state, model, optimizer, loaded.settings.seed)
    number = optimizer.steps + 1
    if description.get("step") != number:
        raise InputError(f"{loaded.run.black_box} is about step {description.get('step')}, and the state beside it "
                         f"belongs to step {number}: they are not of one black box")
    return TrainingStep(loaded, model, optimizer, number, loaded.batches().batch(optimizer.steps)), description["steps"]


def _gradients(loss: Tensor) -> Gradients:
    found: Gradients = {}
    loss.backward(collect=lambda leaf, dx, free: found.update({leaf.name: dx}))
    return found


def _length(gradients: Gradients) -> float:
    """Of all numbers as one vector, scaled so that squares cannot overflow."""
    largest = max(peak(dx) for dx in gradients.values()) or 1.0
    return largest * float(np.sqrt(sum(float(np.square(dx / largest, dtype=np.float64).sum())
                                       for dx in gradients.values())))


def _without_caller(found: Blame) -> str:
    """The report, without the line outside the package: here that is only who asked for an explanation."""
    return str(replace(found, rows=tuple(row for row in found.rows if row[0] != "from")))


def _before(records: list[Record]) -> str:
    """The last steps, the failed one at the end."""
    rows = [(record["step"], *(float(record[name]) for name in COLUMNS.values())) for record in records[-MOST:]]
    return "The last steps:\n\n" + table(rows, ("step", *COLUMNS), indent=2)


def _weights(step: TrainingStep) -> str:
    """The parameters with the largest numbers: huge ones are the work of the steps before."""
    peaks = sorted(((p.name, peak(p.data)) for p in step.model.parameters()), key=lambda row: -row[1])
    return "The largest weights just before it:\n\n" + table(peaks[:MOST], ("parameter", "reaches"), indent=2)


def _where_it_is_long(step: TrainingStep, parts: list[tuple[str, float, str]], whole: Gradients) -> str:
    lengths = sorted(((name, _length({name: dx})) for name, dx in whole.items()), key=lambda row: -row[1])
    parts = sorted(parts, key=lambda part: -part[1])
    examples, _, found = parts[0]
    parameters = table(lengths[:MOST], ("parameter", "gradient's length"), indent=2)
    rows = table([part[:2] for part in parts[:MOST]], ("examples of the batch", "gradient's length"), indent=2)
    return (f"Step {step.number}: the loss and every gradient are finite; the gradient's length is "
            f"{_length(whole):.4g}.\n\n{parameters}\n\n{rows}\n\nExamples {examples}, where it is longest:\n\n{found}")
