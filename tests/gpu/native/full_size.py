"""Training steps of BERT-base, or of a toy, without text."""

from pathlib import Path
from typing import Any

from minibert import AdamW, BertForPreTraining
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.train.black_box import BlackBox
from minibert.train.device_steps import DeviceSteps
from minibert.train.run import RunFolder
from minibert.train.settings import PretrainSettings

from .options import Options


def shape_of(options: Options, layers: int = 12) -> Shape:
    B, T, H, A, V = options.sizes
    return Shape(2 if options.small else layers, H, A, V, B, T)


def settings_of(shape: Shape) -> PretrainSettings:
    return PretrainSettings(layers=shape.layers, hidden=shape.hidden, heads=shape.heads, length=shape.length,
                            batch=shape.batch, micro_batch=shape.batch, mask_rate=0.15, dropout=0.1, start="random")


def full_size_steps(shape: Shape, graphs: bool = True) -> tuple[DeviceSteps, dict[str, Any]]:
    """Steps on the GPU, and a batch for them."""
    settings = settings_of(shape)
    model = BertForPreTraining(settings.model_config(shape.vocabulary)).train().to("cuda")
    optimizer = AdamW(model.parameters(), 1e-4)
    black_box = BlackBox(RunFolder(Path("no-run")), settings, model, optimizer)
    return DeviceSteps(settings, model, optimizer, black_box, graphs), synthetic_batch(shape)
