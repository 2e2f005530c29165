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
    """Arguments: shape; weights, a folder; precision, of minibert.ops.cuda.blas; compiled, a mode of torch or ""."""
    if not torch.cuda.is_available():
        raise SystemExit("needs a PyTorch with CUDA, and a GPU that it finds")
    training = Training(Shape(*arguments["shape"]), arguments["weights"], arguments["precision"], arguments["compiled"])

    def one_step() -> float:
        training.step()
        return training.wait()

    number = torch.__version__.partition("+")[0]  # without the name of the build
    facts = {"loss": training.loss, "version": f"PyTorch {number}, transformers {transformers.__version__}"}
    return Served(one_step, facts, {"round": lambda: time_round(training.step, training.wait),
                                    "gpu_memory": lambda: 1e-6 * torch.cuda.max_memory_reserved()})


class Training:
    """A model, its optimiser and a batch.  `loss` is that before the first step, without dropout."""

    def __init__(self, shape: Shape, weights: str, precision: str, compiled: str) -> None:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.manual_seed(0)
        self.model = BertForPreTraining.from_pretrained(weights, attn_implementation="sdpa").to(DEVICE)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.pinned = {name: array.pin_memory() for name, array in flat_batch(shape).items()}
        self.batch = {name: array.to(DEVICE) for name, array in self.pinned.items()}
        self.bfloat16, self.compiled = precision == "bfloat16", compiled
        with torch.no_grad():
            self.loss = loss_of(self.model.eval(), self.batch, self.bfloat16).item()
        self.model.train()
        self.forward: Callable[..., torch.Tensor] = torch.compile(loss_of, mode=compiled) if compiled else loss_of
        self.losses: list[torch.Tensor] = []  # on the GPU, until somebody waits for them

    def step(self) -> None:
        """Ask for one step."""
        for name, array in self.pinned.items():  # every step of a training has a batch of its own
            self.batch[name].copy_(array, non_blocking=True)
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward(self.model, self.batch, self.bfloat16)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.losses.append(loss.detach().clone())  # a compiled step would write the next one over it

    def wait(self) -> float:
        """Until all that was asked for is done: the last loss."""
        losses: list[float] = torch.stack(self.losses).tolist() if self.losses else [self.loss]
        self.losses.clear()
        torch.cuda.synchronize()
        return losses[-1]


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
