"""Is a replayed step the step of the run?  To the bit on the processor, within rounding on another device."""

from contextlib import closing

import numpy as np

from minibert.backend import Array
from minibert.debug.replaying.rebuild import own_states, trainer_of
from minibert.debug.replaying.timeline import Timeline
from minibert.debug.replaying.training_step import TrainingStep
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays

ROUNDING = 1e-3  # far more than float32 and another order of sums change of a moment, in units of its largest number
SMALL = 1e-3  # of the largest moment of all: below that, a gradient may be rounding alone, as that of a key's bias is
MOST = 0.5  # of the arrays: where more have other bits, it was another arithmetic, and no single mistake
State = dict[str, Array]  # weights and moments by name: weight.NAME, m.NAME, v.NAME
ENDS = "verified: the training loop ends here, too: the loss or its gradient is not a number"


def verify(step: TrainingStep, timeline: Timeline) -> str:
    """What the numbers after the step were compared with, and the outcome.

    Raises AssertionError when the training loop computes other bits on the same device.
    """
    loop = _training_loop(step)
    if not loop:
        assert not timeline.after, f"the replay of step {step.number} goes on where the training loop ends"
        return ENDS
    saved = [(read_arrays(path, "")[0], path.name) for steps, path in own_states(step.loaded) if steps == step.number]
    states = {name: {n: arrays[n] for n in loop if n in arrays} for arrays, name in saved}
    if step.device != "cpu":
        return _verify_rounding(timeline, {"the training loop on the cpu": loop, **states})
    problem = difference(timeline.after, loop)
    assert not problem, (f"the replay of step {step.number} has other bits than the training loop in {problem}: unless "
                         f"its TrainingStep was changed by hand, this is a mistake in minibert")
    for name, state in states.items():
        problem = difference(timeline.after, state)
        if problem and of_another_arithmetic(timeline.after, state):
            return _verify_rounding(timeline, {f"the run, in {name}": state})
        if problem:
            return (f"NOT the bits of the run: {name} differs in {problem}; the run was computed with another NumPy, "
                    f"BLAS or kind of processor")
    names = " and ".join(states)
    return f"verified: the bits of the run, those in {names} and of the training loop" if saved else (
        f"verified: the bits of the training loop here; the run has kept no state after step {step.number:,} itself")


def _training_loop(step: TrainingStep) -> State:
    """Weights and moments after the step as the training loop computes it on the CPU; nothing where it ends there."""
    loop = step.copy().to("cpu")
    trainer = trainer_of(loop.loaded, loop.model, loop.optimizer)
    with closing(trainer.steps):
        try:
            trainer.step()
        except InputError:  # a loss or gradient that is not a number
            return {}
    return loop.state()


def _verify_rounding(timeline: Timeline, states: dict[str, State]) -> str:
    """The outcome in words, where other bits are to be expected."""
    apart = {name: distance(timeline.after, state, timeline.lr) for name, state in states.items()}
    worst = max(apart, key=lambda name: apart[name])
    if not apart[worst] <= ROUNDING:
        return (f"NOT within rounding of {worst}: {difference(timeline.after, states[worst])}; rounding grows with "
                f"every step that was trained again on another device")
    return (f"verified: within rounding of {' and of '.join(apart)}, not bit for bit: moments differ by up to "
            f"{apart[worst]:.0e} of the largest")


def difference(mine: State, other: State) -> str:
    """The array that differs most from its namesake, in words; empty when all have the same bits."""
    if mine.keys() != other.keys():
        return f"the names of {len(mine.keys() ^ other.keys())} arrays"
    apart = {name: float(np.abs(array.astype(np.float64) - other[name]).max()) for name, array in mine.items()
             if array.tobytes() != other[name].tobytes()}
    worst = max(apart, key=lambda name: apart[name], default="")
    return worst and f"{len(apart)} of {len(mine)} arrays, most of all {worst} by {apart[worst]:.1e}"


def of_another_arithmetic(mine: State, other: State) -> bool:
    """Whether most of the arrays that both have are of other bits."""
    others = sum(array.tobytes() != other[name].tobytes() for name, array in mine.items() if name in other)
    return others > MOST * len(mine)


def distance(mine: State, other: State, lr: float) -> float:
    """How far two states after the same step are apart: 1e-6 or so where only rounding tells them apart.

    A moment is measured by its largest number, a weight by ten steps of `lr`, and only where its first moment is not
    rounding itself: AdamW makes a whole step of the smallest gradient.  Infinite when other arrays are in it.
    """
    if mine.keys() != other.keys():
        return np.inf
    largest = {kind: max(float(np.abs(x).max()) for name, x in other.items() if name.startswith(kind + "."))
               for kind in ("m", "v")}
    worst = 0.0
    for name, x in other.items():
        kind, _, parameter = name.partition(".")
        apart = np.abs(mine[name].astype(np.float64) - x)
        if kind == "weight":
            apart = np.maximum(apart - 4.0 * np.finfo(x.dtype).eps * np.abs(x), 0.0)
            apart, size = apart[np.abs(other[f"m.{parameter}"]) > SMALL * largest["m"]], 10.0 * lr
        else:
            size = max(float(np.abs(x).max()), SMALL * largest[kind])
        worst = max(worst, float(apart.max(initial=0.0)) / max(size, float(np.finfo(x.dtype).tiny)))
    return worst
