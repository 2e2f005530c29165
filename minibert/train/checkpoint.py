"""Everything a run needs to go on as if it had never stopped, in one file that is replaced whole.

Batches, masks and dropout are functions of the seed and the step, so the step is also the data cursor and
the state of every random choice.
"""

from pathlib import Path

import numpy as np

from minibert.backend import Array, beside, to_host
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays, write_arrays
from minibert.nn.module import Module
from minibert.optim import AdamW

FORMAT = "minibert training state"
PARTS = ("weight", "m", "v")


def save_checkpoint(path: Path, model: Module, optimizer: AdamW, seed: int) -> None:
    """Write weights, both moments, step and seed: all of them as arrays, which the file's checksum covers."""
    progress = {"step": np.array(optimizer.steps, np.uint64), "seed": np.array(seed, np.uint64)}
    arrays = {name: to_host(array) for name, array in _arrays(model, optimizer).items()}
    write_arrays(path, arrays | progress, {"format": FORMAT})


def load_checkpoint(path: Path, model: Module, optimizer: AdamW, seed: int) -> None:
    """Put what `save_checkpoint` wrote back into the model and the optimiser.

    Raises InputError when the file is missing, damaged, of another model or run; nothing is changed then.
    """
    saved, metadata = read_arrays(path, "the run was stopped before its first save")
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is not a training state of minibert: resume from a run folder that `minibert "
                         f"pretrain` wrote")
    try:
        step, saved_seed = int(saved.pop("step")), int(saved.pop("seed"))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: it does not say which step it belongs to") from error
    if saved_seed != seed:
        raise InputError(f"{path} belongs to a run with seed {saved_seed}, and these settings say seed {seed}")
    current = _arrays(model, optimizer)
    if {n: (a.shape, a.dtype) for n, a in current.items()} != {n: (a.shape, a.dtype) for n, a in saved.items()}:
        raise InputError(f"{path} belongs to a model of another shape than this run's settings describe")
    for name, array in current.items():
        array[...] = beside(saved[name], array)
    optimizer.steps = step


def _arrays(model: Module, optimizer: AdamW) -> dict[str, Array]:
    """The arrays of a run's state, themselves, not copies: by part and parameter name."""
    names = [name for name, _ in model.named_parameters()]
    columns = ([p.data for p in optimizer.parameters], optimizer.m, optimizer.v)
    return {f"{part}.{name}": array for part, arrays in zip(PARTS, columns, strict=True)
            for name, array in zip(names, arrays, strict=True)}
