"""A small model trains with a learner's backward, beside the same model with the library's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.debug.checking.gradcheck import check_op
from minibert.errors import InputError
from minibert.lab.declaring import Backward
from minibert.lab.grading import Wrong, failure
from minibert.lab.swapping import adapted, swapped
from minibert.lab.toys import Toy, toy_with
from minibert.optim import AdamW

STEPS = 60
LR = 0.01


@dataclass(frozen=True, repr=False)
class Training:
    """Losses, before each step."""

    op: str
    model: str
    mine: list[float]
    library: list[float]

    @property
    def same(self) -> bool:
        """Whether the two curves are one."""
        return bool(np.allclose(self.mine, self.library, rtol=1e-6))

    def __repr__(self) -> str:
        end = "as with the library's" if self.same else f"with the library's to {self.library[-1]:.3f}"
        return (f"training: {self.model}, {len(self.mine)} steps with your {self.op}_backward: "
                f"loss {self.mine[0]:.3f} -> {self.mine[-1]:.3f}, {end}")

    def figure(self) -> Any:
        """The two curves, as a matplotlib Figure."""
        from minibert.lab.drawing import BLUE, GREY, figure

        made, axes = figure(height=2.2, width=5.4)
        axes.plot(self.library, color=GREY, linewidth=4, alpha=0.35, label="the library's backward")
        axes.plot(self.mine, color=BLUE, linewidth=1.4, label="your backward")
        axes.set(title=f"{self.model}, trained through {self.op}", xlabel="step", ylabel="loss, nats")
        axes.legend(frameon=False, fontsize=8)
        return made

    def _repr_png_(self) -> bytes:
        from minibert.lab.drawing import as_png

        return as_png(self.figure())


def train_with(op: str, backward: Callable[..., Any], steps: int = STEPS, given: tuple[str, ...] = (),
               toy: Callable[[], Toy] | None = None) -> Training:
    """Train a small model that uses the operation, with this backward in the engine, and once with the library's.

    given: see `minibert.lab.swapped`.  toy: makes another model, the same one each time.
    Raises InputError when no toy uses the operation, or when the engine cannot use what the backward returns.
    """
    def make() -> Toy:
        return toy() if toy else toy_with(op)
    library = _losses(make(), steps)
    with swapped(op, backward, given):
        mine = _losses(make(), steps)
    return Training(op, make().name, mine, library)


def check_and_train(asked: Backward, backward: Callable[..., Any]) -> tuple[list[str], Training]:
    """The gradient check and the training run of an answer, and what to say of them.  Raises Wrong."""
    sample = asked.samples()[0]
    report = check_op(asked.op, *sample.forward, backward=adapted(asked.op, backward, asked.given))
    if not report.ok:
        raise Wrong("\n".join(["the gradient check disagrees", *(str(row).strip() for row in report.rows)]))
    lines = [f"gradient check: {row.name}, analytic {row.analytic:+.5f}, numeric {row.numeric:+.5f}"
             for row in report.rows]
    try:
        training = train_with(asked.op, backward, given=asked.given, toy=asked.toy)
    except InputError as error:
        raise Wrong(f"the engine cannot train with it: {error}") from error
    except Exception as error:
        raise Wrong(f"in training, {failure(error)}") from error
    if not training.same:
        raise Wrong(f"right on random inputs, but not where a model uses it: {training}")
    return [*lines, repr(training)], training


def _losses(toy: Toy, steps: int) -> list[float]:
    """Train, and keep the loss before each step."""
    optimizer = AdamW(toy.parameters, lr=LR)
    found = []
    for _ in range(steps):
        loss = toy.loss()
        loss.backward()
        found.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return found
