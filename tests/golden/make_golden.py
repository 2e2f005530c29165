"""Write the golden files: what Hugging Face's BERT and PyTorch's AdamW compute on tiny models.

They let everybody compare minibert with the reference without installing it. To write them again:

    pip install torch transformers
    python -m tests.golden.make_golden          # in the root of the repository
"""

import json
from pathlib import Path

import torch
import transformers

from minibert.interop.safetensors import write_arrays

from ..parity import reference
from ..parity.compare import TRAINING

FOLDER = Path(__file__).parent
MODELS = {  # odd and distinct sizes, so that no transposed matrix fits by accident
    "bert_for_pretraining": {
        "vocab_size": 47, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 20, "max_position_embeddings": 13, "type_vocab_size": 2, "hidden_act": "gelu"},
    "bert_gelu_new": {
        "vocab_size": 29, "hidden_size": 10, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 17, "max_position_embeddings": 9, "type_vocab_size": 2, "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-3},
}


def write(name: str, rows: int, length: int, seed: int) -> None:
    config = MODELS[name]
    model, batch = reference.random_model(config, seed), reference.random_batch(config, rows, length, seed)
    arrays = {f"weight/{key}": array for key, array in reference.weights(model).items()}
    arrays |= {f"input/{key}": array for key, array in batch.items()}
    arrays |= reference.outputs_and_gradients(model, batch)
    arrays |= reference.train(model, batch, TRAINING)
    write_arrays(FOLDER / f"{name}.safetensors", arrays, {
        "config": json.dumps(config), "training": json.dumps(TRAINING),
        "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}"})


if __name__ == "__main__":
    write("bert_for_pretraining", rows=5, length=11, seed=1)
    write("bert_gelu_new", rows=3, length=7, seed=2)
