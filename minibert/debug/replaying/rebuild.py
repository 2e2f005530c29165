"""The state of a run before any of its steps: the nearest state that is saved, and training from there.

A step is a function of the state before it, of settings and of text; on the same NumPy, BLAS and kind of processor
to the bit. So any saved state will do as a start:

    the beginning                    a function of the seed, and so always there
    training_state.safetensors       the last save
    black_box.safetensors            where it is, the state before the step that failed
    replay/step-N.safetensors        the state after step N, left by an earlier replay
"""

import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import threadpoolctl
from tqdm import tqdm

import minibert
from minibert.backend import device_of, gpu_name
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays
from minibert.models.pretraining import BertForPreTraining
from minibert.optim import AdamW
from minibert.train.checkpoint import load_checkpoint, save_checkpoint
from minibert.train.loop import Trainer
from minibert.train.pretrain import Loaded, usable_threads
from minibert.train.run import RunFolder

KEPT = 8  # states that replays leave in a run folder, the latest ones


class StateCache:
    """States on the way to the steps that were replayed, so that the next replay near them begins there.

    They are bits of one run on one machine: those of another text, version, NumPy, BLAS or kind of processor are not
    read, and are replaced.
    """

    def __init__(self, run: RunFolder, device: str = "cpu") -> None:
        self.run, self.device, self.folder = run, device, run.path / "replay"
        self.label = self.folder / "made_with.txt"

    @cached_property
    def made_with(self) -> str:
        """What decides the bits of its states."""
        run = zlib.crc32(self.run.corpus.read_bytes(), zlib.crc32(self.run.settings.read_bytes()))
        return f"minibert {minibert.__version__}, {arithmetic(self.device)}; settings and text {run:08x}\n"

    def states(self) -> list[tuple[int, Path]]:
        """Every state in it that was computed with what would compute here, by the steps done."""
        with suppress(OSError, UnicodeDecodeError):
            if self.label.read_text(encoding="utf-8") == self.made_with:
                numbered = [(path.stem.removeprefix("step-"), path) for path in self.folder.glob("step-*.safetensors")]
                return [(int(number), path) for number, path in numbered if number.isdecimal()]
        return []

    def keep(self, model: BertForPreTraining, optimizer: AdamW, seed: int) -> None:
        """Add a state, and drop the oldest ones; nothing at all where the folder cannot be written."""
        with suppress(OSError, InputError):
            known = [path for _, path in self.states()]
            for path in set(self.folder.glob("step-*.safetensors")) - set(known):
                path.unlink()
            save_checkpoint(self.folder / f"step-{optimizer.steps}.safetensors", model, optimizer, seed)
            self.label.write_text(self.made_with, encoding="utf-8")
            for _, path in sorted(self.states(), key=lambda state: state[1].stat().st_mtime_ns)[:-KEPT]:
                path.unlink()


def arithmetic(device: str = "cpu") -> str:
    """What decides how sums are rounded here: NumPy, and the BLAS with the processor it has chosen kernels for; or the
    GPU with its software.
    """
    if device == "cuda":
        return gpu_name()
    libraries = [f"{library['internal_api']} {library['version']} for {library.get('architecture', 'any processor')}"
                 for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    return ", ".join([f"NumPy {np.__version__}", *libraries])


def rebuild(loaded: Loaded, number: int | None, device: str = "cpu") -> tuple[BertForPreTraining, AdamW, str]:
    """Model and optimiser before step `number`, by default the step after the last save; and where they come from.

    device: where steps are trained again, and where both are then.
    Raises InputError when a file of the run is damaged, or when the run ended before that step.
    """
    model, optimizer = loaded.begin(device)
    seed, state = loaded.settings.seed, loaded.run.state
    if number is None:
        if state.exists():
            load_checkpoint(state, model, optimizer, seed)
            return model, optimizer, f"the save after step {optimizer.steps:,} in {state.name}"
        return model, optimizer, "the beginning of the run"
    origin = "the beginning of the run"
    for steps, path, spare in _saved_before(loaded, number, device):
        try:
            load_checkpoint(path, model, optimizer, seed)
        except InputError:
            if not spare:
                raise
        else:
            if optimizer.steps == steps:
                origin = f"the state after step {steps:,} in {path.relative_to(loaded.run.path)}"
                break
            model, optimizer = loaded.begin(device)  # a state under a wrong name
    again = number - 1 - optimizer.steps
    _train(loaded, model, optimizer, number - 1)
    return model, optimizer, origin + (f", and {again:,} step{'s' * (again > 1)} trained again" if again else "")


def own_states(loaded: Loaded) -> Iterator[tuple[int, Path]]:
    """The states that the run itself has saved, by the steps done.  Raises InputError for a damaged one."""
    for path in (loaded.run.state, loaded.run.path / "black_box.safetensors"):
        if path.exists():
            step = read_arrays(path, "")[0].get("step")
            if step is None or step.size != 1:
                raise InputError(f"{path} is damaged: it does not say which step it belongs to")
            yield int(step), path


def _saved_before(loaded: Loaded, number: int, device: str) -> list[tuple[int, Path, bool]]:
    """States from which step `number` can be reached, the nearest first, and whether each can be spared."""
    own = [(steps, path, False) for steps, path in own_states(loaded)]
    kept = [(steps, path, True) for steps, path in StateCache(loaded.run, device).states()]
    return sorted((state for state in own + kept if state[0] < number), key=lambda state: (-state[0], state[2]))


def _train(loaded: Loaded, model: BertForPreTraining, optimizer: AdamW, last: int) -> None:
    """Train up to and with step `last`, as the run did; nothing but the cache is written."""
    first, s = optimizer.steps, loaded.settings
    cache = StateCache(loaded.run, device_of(optimizer.parameters[0].data))
    if first == last:
        return
    keep = {last, *(last - 10**power for power in range(1, len(str(last))))}  # going back a little is quick, too
    trainer = trainer_of(loaded, model, optimizer)
    model.bert.encoder.recompute = s.recompute
    bar = tqdm(range(first + 1, last + 1), desc="replay", unit="step", delay=1.0, leave=False)
    bar.mininterval = bar.mininterval if bar.fp.isatty() else 30.0
    with closing(trainer.steps), closing(bar):
        for number in bar:
            try:
                trainer.step()
                trainer.settle()
            except InputError as error:
                raise InputError(f"this run goes no further than step {number}, where its loss or its gradient stops "
                                 f"being a number: replay that step") from error
            trainer.recent.clear()
            if number in keep:
                cache.keep(model, optimizer, s.seed)
    model.bert.encoder.recompute = False  # which changes no bit, and shows what the layers compute


def trainer_of(loaded: Loaded, model: BertForPreTraining, optimizer: AdamW) -> Trainer:
    """The training loop of the run, on this model; its folder is not the run's, whatever it may want to write."""
    model.train()
    return Trainer(RunFolder(StateCache(loaded.run).folder), loaded.settings, model, optimizer, loaded.batches(), [],
                   usable_threads())
