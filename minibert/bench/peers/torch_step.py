"""Worker: the training step in PyTorch, with the BERT of `transformers`."""

from typing import Any

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForPreTraining

from minibert.bench.served import Served, serve
from minibert.bench.shape import POSITIONS, Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.ops.loss import IGNORE_INDEX


def build(arguments: dict[str, Any]) -> Served:
    """Arguments: shape, threads, bfloat16 (autocast and fused attention instead of plain float32)."""
    shape, bfloat16 = Shape(*arguments["shape"]), arguments["bfloat16"]
    torch.set_num_threads(arguments["threads"])
    model = new_model(shape, "sdpa" if bfloat16 else "eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = {name: torch.from_numpy(array) for name, array in synthetic_batch(shape).items()}
    labels, pairs = batch.pop("labels"), batch.pop("next_sentence_label")
    masked = labels != IGNORE_INDEX
    words = labels[masked]

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            encoded = model.bert(**batch)
            # the model's own forward would compute words for every position, four or more times the work here
            scores = model.cls.predictions(encoded.last_hidden_state[masked])
            pair_scores = model.cls.seq_relationship(encoded.pooler_output)
            loss = cross_entropy(scores.float(), words) + cross_entropy(pair_scores.float(), pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    number = torch.__version__.partition("+")[0]  # without the name of the build
    return Served(step, {"version": f"PyTorch {number}, transformers {transformers.__version__}"})


def new_model(shape: Shape, attention: str) -> BertForPreTraining:
    """A BERT in training mode; dropout is 0.1 by default."""
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.width, max_position_embeddings=POSITIONS,
        attn_implementation=attention))
    return model.train()


if __name__ == "__main__":
    serve(build)
