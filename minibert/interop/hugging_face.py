"""Model folders of Hugging Face's transformers: `config.json` beside `model.safetensors`."""

from pathlib import Path

from minibert.backend import Array, to_host
from minibert.errors import InputError
from minibert.interop.safetensors import read_arrays, write_arrays
from minibert.nn.module import Module

WEIGHTS = "model.safetensors"
NOT_WEIGHTS = ("embeddings.position_ids",)  # buffers that old versions of transformers saved with the weights
OTHER_HEADS = ("classifier.", "qa_outputs.", "dropout.")  # of models fine-tuned for a task; never minibert's
BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
WORDS, DECODER_WEIGHT = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


def save_weights(model: Module, folder: str | Path) -> None:
    """Write every parameter under its own name, which is transformers' name too; a tied one once."""
    arrays = {name: to_host(array) for name, array in model.state_dict().items()}
    if DECODER_WEIGHT in arrays:  # where this is not tied, transformers does not tie the bias either, and uses its copy
        arrays[DECODER_BIAS] = arrays[BIAS].copy()
    write_arrays(Path(folder) / WEIGHTS, arrays, {"format": "pt"})


def load_weights(model: Module, folder: str | Path) -> None:
    """Copy the weights of a folder into the model.

    Raises InputError when the file is missing, damaged, pickled, or does not fit the model; nothing is changed then.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file() and (folder / "pytorch_model.bin").is_file():
        raise InputError(f"{folder} holds pytorch_model.bin, a pickle, which can run any code and is never read: "
                         f"load it with transformers and call save_pretrained, which writes {WEIGHTS}")
    arrays, _ = read_arrays(folder / WEIGHTS, "a model folder has one; minibert's own appears when a run is saved")
    weights = _modern_names(arrays)
    names = set(model.state_dict())
    if not names & weights.keys():
        weights = _fit_prefix(weights, names)
    if "bert.encoder.layer.0.output.dense.weight" not in names:  # a bare encoder has no use for the heads
        weights = {name: array for name, array in weights.items() if not name.startswith("cls.")}
    decoder_bias = weights.pop(DECODER_BIAS, None)  # where untied, transformers adds this one and never the other
    if decoder_bias is not None and (DECODER_WEIGHT in names or BIAS not in weights):
        weights[BIAS] = decoder_bias
    if DECODER_WEIGHT in weights and DECODER_WEIGHT not in names:
        weights.setdefault(WORDS, weights.pop(DECODER_WEIGHT))
    weights = {name: array for name, array in weights.items()
               if not name.endswith(NOT_WEIGHTS) and not name.startswith(OTHER_HEADS)}
    try:
        model.load_state_dict(weights)
    except InputError as error:
        raise InputError(f"{folder / WEIGHTS}: {error}") from error


def _modern_names(arrays: dict[str, Array]) -> dict[str, Array]:
    """Names as they are today: checkpoints converted from TensorFlow call layer norm's two `gamma` and `beta`."""
    return {name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): array
            for name, array in arrays.items()}


def _fit_prefix(weights: dict[str, Array], names: set[str]) -> dict[str, Array]:
    """A bare BertModel's weights lack the `bert.` that a model with heads puts before them; add or remove it."""
    if any(name.startswith("bert.") for name in names):
        return {f"bert.{name}": array for name, array in weights.items()}
    return {name.removeprefix("bert."): array for name, array in weights.items()}
