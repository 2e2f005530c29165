"""Curves of a run, with the floors they stand on."""

import io
from typing import Any

from minibert.files import write_atomically
from minibert.train.evaluation import EVALUATION_MASK_RATE, Floors
from minibert.train.run import RunFolder

TRAIN, HELD_OUT, FLOOR = "#9db4c8", "#b5342c", "#555555"
Records = list[dict[str, Any]]
Rates = tuple[str, str]  # how much is masked, in words, in training and held out: more is harder to guess


def draw_curves(run: RunFolder, floors: Floors, mask_rate: float) -> None:
    """Write loss.png and accuracy.png into the run folder, from its log.  mask_rate: of training."""
    import matplotlib

    matplotlib.use("Agg")
    records = run.metrics.read()
    training = [r for r in records if "held_out" not in r]
    held_out = [{"step": r["step"], **r["held_out"]} for r in records if "held_out" in r]
    masked = f", {mask_rate:.0%} masked", f", {EVALUATION_MASK_RATE:.0%} masked"
    _draw_losses(run, training, held_out, floors, masked)
    _draw_accuracies(run, training, held_out, masked)


def _draw_losses(run: RunFolder, training: Records, held_out: Records, floors: Floors, rates: Rates) -> None:
    figure, (masked, pair) = _two_panels()
    _curves(masked, training, held_out, "masked_loss", rates)
    _floor(masked, floors.chance, f"chance, ln V = {floors.chance:.2f}")
    _floor(masked, floors.unigram, f"unigram entropy of the held-out text = {floors.unigram:.2f}")
    masked.set_title("Masked words")
    masked.set_ylabel("loss, nats a masked token")
    right = masked.secondary_yaxis("right", functions=(_perplexity, _nats))
    right.set_ylabel("perplexity")
    right.set_yticks([10, 20, 40, 100, 200, 500, 1000, 5000], ["10", "20", "40", "100", "200", "500", "1000", "5000"])
    _curves(pair, training, held_out, "pair_loss")
    _floor(pair, floors.pair, "chance, ln 2 = 0.69")
    pair.set_title("Next sentence")
    pair.set_ylabel("loss, nats a pair")
    pair.set_ylim(bottom=0)
    _save(figure, run, "loss.png")


def _draw_accuracies(run: RunFolder, training: Records, held_out: Records, rates: Rates) -> None:
    figure, (masked, pair) = _two_panels()
    _curves(masked, training, held_out, "masked_accuracy", rates)
    masked.set_title("Masked words")
    masked.set_ylabel("share guessed exactly")
    masked.set_ylim(bottom=0)
    _curves(pair, training, held_out, "pair_accuracy")
    _floor(pair, 0.5, "chance, one half")
    steps = [r["step"] for r in held_out]
    pair.plot(steps, [r["next_accuracy"] for r in held_out], ":", color=HELD_OUT, label="held-out, B follows A")
    pair.plot(steps, [r["random_accuracy"] for r in held_out], "--", color=HELD_OUT, label="held-out, B is random")
    pair.set_title("Next sentence")
    pair.set_ylabel("share of pairs told right")
    pair.set_ylim(0, 1)
    _save(figure, run, "accuracy.png")


def _two_panels() -> tuple[Any, Any]:
    from matplotlib import pyplot

    return pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")


def _curves(axes: Any, training: Records, held_out: Records, name: str, rates: Rates = ("", "")) -> None:
    """Training as a thin line under its running mean, held-out as points; `rates` is added to their names."""
    steps, values = [r["step"] for r in training], [r[name] for r in training]
    window = max(1, len(values) // 50)
    means = [sum(values[max(0, i - window + 1):i + 1]) / min(window, i + 1) for i in range(len(values))]
    axes.plot(steps, values, color=TRAIN, linewidth=0.6, alpha=0.6)
    axes.plot(steps, means, color=TRAIN, linewidth=1.8, label=f"training, mean of the last steps{rates[0]}")
    axes.plot([r["step"] for r in held_out], [r[name] for r in held_out], "o-", color=HELD_OUT, markersize=3,
              label=f"held-out documents{rates[1]}")
    axes.set_xlabel("step")


def _floor(axes: Any, height: float, name: str) -> None:
    axes.axhline(height, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(name, (1, height), (-4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                  ha="right", fontsize=8, color=FLOOR)


def _save(figure: Any, run: RunFolder, name: str) -> None:
    from matplotlib import pyplot

    for axes in figure.axes:
        axes.grid(alpha=0.2)
        axes.spines["top"].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="best")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    pyplot.close(figure)
    write_atomically(run.path / name, buffer.getvalue())


def _perplexity(nats: Any) -> Any:
    import numpy as np

    return np.exp(np.minimum(nats, 50.0))


def _nats(perplexity: Any) -> Any:
    import numpy as np

    return np.log(np.maximum(perplexity, 1e-9))
