"""Worker: the training step in PyTorch on a GPU, with the BERT of `transformers`."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import BertForPreTraining

from minibert.bench.gpu.timing import time_round
from minibert.bench.served import Served, serve
from minibert.bench.shape import Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.ops.loss import IGNORE_INDEX

DEVICE = "cuda"
Batch = dict[str, torch.Tensor]


def build(arguments: dict[str, Any]) -> Served:
    """Arguments: shape; weights, a folder; precision, of minibert.ops.cuda.blas; compiled, "" or a mode of torch."""
    if not torch.cuda.is_available():
        raise SystemExit("needs a PyTorch with CUDA, and a GPU that it finds")
    precision, compiled = arguments["precision"], arguments["compiled"]
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.manual_seed(0)
    model = BertForPreTraining.from_pretrained(arguments["weights"], attn_implementation="sdpa").to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    pinned = {name: array.pin_memory() for name, array in flat_batch(Shape(*arguments["shape"])).items()}
    batch = {name: array.to(DEVICE) for name, array in pinned.items()}
    with torch.no_grad():
        loss = loss_of(model.eval(), batch, precision == "bfloat16").item()
    model.train()
    forward: Callable[..., torch.Tensor] = torch.compile(loss_of, mode=compiled) if compiled else loss_of
    losses: list[torch.Tensor] = []  # on the GPU, until somebody waits for them

    def step() -> None:
        for name, array in pinned.items():  # a step of training has a batch of its own
            batch[name].copy_(array, non_blocking=True)
        if compiled:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        found = forward(model, batch, precision == "bfloat16")
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(found.detach().clone())

    def wait() -> float:
        found: list[float] = torch.stack(losses).tolist() if losses else [loss]
        losses.clear()
        torch.cuda.synchronize()
        return found[-1]

    def one_step() -> float:
        step()
        return wait()

    number = torch.__version__.partition("+")[0]  # without the name of the build
    facts = {"loss": loss, "version": f"PyTorch {number}, transformers {transformers.__version__}"}
    return Served(one_step, facts, {"round": lambda: time_round(step, wait),
                                    "gpu_memory": lambda: 1e-6 * torch.cuda.max_memory_reserved()})


def loss_of(model: Any, batch: Batch, bfloat16: bool) -> torch.Tensor:
    """Masked words, of which only the scores that count are computed, plus next sentence."""
    inputs = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=bfloat16):
        encoded = model.bert(**inputs)
        states = encoded.last_hidden_state.flatten(0, 1)[batch["rows"]]
        scores, pair_scores = model.cls.predictions(states), model.cls.seq_relationship(encoded.pooler_output)
        return cross_entropy(scores.float(), batch["words"]) + cross_entropy(pair_scores.float(), batch["pairs"])


def flat_batch(shape: Shape) -> Batch:
    """Everybody's batch, with the places of the labels as numbers: to look for them, a GPU must be waited for."""
    batch = {name: torch.from_numpy(array) for name, array in synthetic_batch(shape).items()}
    labels, batch["pairs"] = batch.pop("labels").flatten(), batch.pop("next_sentence_label")
    batch["rows"] = (labels != IGNORE_INDEX).nonzero().flatten()
    batch["words"] = labels[batch["rows"]]
    return batch


if __name__ == "__main__":
    serve(build)
