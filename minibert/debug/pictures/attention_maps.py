"""Who looks at whom: the attention of every head, for one text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minibert.backend import Array, to_host
from minibert.debug.execution import on_host
from minibert.errors import InputError
from minibert.graph import no_grad
from minibert.nn.module import Module

MOST = 4  # layers, and heads, that are drawn unless others are chosen
WIDTH, LARGEST = 7.4, 3.0  # inches for all maps side by side, and for one at most
POINTS = 5.5  # a label needs at least


def attention_maps(model: Module, batch: Mapping[str, Any] | Any, tokens: Sequence[str] | None = None,
                   example: int = 0, layers: Sequence[int] | None = None, heads: Sequence[int] | None = None) -> Any:
    """A matplotlib Figure: a row for each layer, a column for each head, in each a square of probabilities.

    batch: the model's inputs, by name, or ids (T,) or (B, T); of these one `example` is drawn, without its padding.
    tokens: what its positions are called, by default their ids.  layers, heads: which to draw, counted from 0; by
    default all up to 4, otherwise 4 that are spread over all.  Dropout is off, and the model is left as it was.
    Raises InputError when the example, a layer or a head does not exist, or tokens are missing.
    """
    from matplotlib.figure import Figure

    inputs = dict(batch) if isinstance(batch, Mapping) else {"input_ids": np.atleast_2d(np.asarray(on_host(batch)))}
    inputs = {name: on_host(inputs[name]) for name in ("input_ids", "token_type_ids", "attention_mask")
              if name in inputs}
    probs = _probabilities(model, inputs, example)
    length = probs.shape[-1]
    names = _names(inputs["input_ids"][example][:length], tokens)
    rows, columns = _chosen("layer", layers, probs.shape[0]), _chosen("head", heads, probs.shape[1])
    side = min(WIDTH / len(columns), LARGEST)
    strongest = float(probs[np.ix_(rows, columns)].max())
    figure = Figure(figsize=(len(columns) * side + 1.6, len(rows) * side + 1.2), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for i, layer in enumerate(rows):
        for j, head in enumerate(columns):
            image = grid[i, j].imshow(probs[layer, head], cmap="Blues", vmin=0.0, vmax=strongest)
            grid[i, j].set_title(f"layer {layer}, head {head}", fontsize=8)
    _label(grid, names, 72.0 * side * 0.9)
    figure.supxlabel("looked at (key)", fontsize=9)
    figure.supylabel("looking (query)", fontsize=9)
    figure.colorbar(image, ax=grid, label="probability", shrink=0.7, aspect=25)
    return figure


def _probabilities(model: Module, inputs: dict[str, Any], example: int) -> Array:
    """The attention of one example without padding, (L, A, T, T)."""
    if "input_ids" not in inputs:
        raise InputError("the batch has no input_ids: pass the model's inputs by name, or the ids alone")
    size = len(inputs["input_ids"])
    if not -size <= example < size:
        raise InputError(f"there is no example {example} in this batch of {size}: they count from 0")
    training = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            attentions = model.eval()(**inputs, output_attentions=True).attentions
    finally:
        for module, mode in training:
            module.training = mode
    mask = inputs.get("attention_mask")
    text = np.ones(np.shape(inputs["input_ids"])[1], bool) if mask is None else np.asarray(mask)[example] != 0
    length = int(np.flatnonzero(text)[-1]) + 1 if text.any() else 0
    if not length:
        raise InputError(f"example {example} is padding alone, and nothing looks at anything there")
    return np.stack([np.asarray(to_host(probs[example])) for probs in attentions])[..., :length, :length]


def _names(ids: Array, tokens: Sequence[str] | None) -> list[str]:
    if tokens is None:
        return [str(number) for number in ids]
    if len(tokens) < len(ids):
        raise InputError(f"this example has {len(ids)} positions, and {len(tokens)} tokens were given: name each of "
                         f"them, special tokens included")
    return [str(token).replace("$", r"\$") for token in tokens[:len(ids)]]


def _chosen(what: str, chosen: Sequence[int] | None, count: int) -> list[int]:
    """Which layers or heads to draw."""
    if chosen is None:
        return [round(i) for i in np.linspace(0, count - 1, min(count, MOST))]
    wrong = [i for i in chosen if not 0 <= i < count]
    if wrong or not len(chosen):
        raise InputError(f"{what}s must be some of 0 .. {count - 1}, not {list(chosen)}")
    return list(chosen)


def _label(grid: Any, names: list[str], room: float) -> None:
    """Tokens at the left and at the bottom of the grid; of a long text only as many as there is room for, in points."""
    step = math.ceil(POINTS * len(names) / room)
    places, shown = list(range(0, len(names), step)), names[::step]
    size = min(7.0, 0.85 * room * step / len(names))
    for axes in grid.ravel():
        axes.set_xticks(places, shown, rotation=90, fontsize=size)
        axes.set_yticks(places, shown, fontsize=size)
        axes.tick_params(length=1.5)
