"""How much memory training takes on a GPU, by the ledger, and what fits."""

import numpy as np

from minibert.debug.accounts.costs import arrays, owner
from minibert.debug.accounts.ledger import size_text
from minibert.debug.accounts.liveness import new_bytes
from minibert.graph import Node, topological_order
from minibert.models.config import BertConfig
from minibert.models.pretraining import BertForPreTraining
from minibert.ops.loss import IGNORE_INDEX
from minibert.train.pretrain import Loaded

STATE = 16  # bytes for each parameter: weight, gradient and AdamW's two moments, in float32
SHARE = 0.75  # of a GPU's memory that a plan may use: the rest is for what an operation needs beside, CUDA, and gaps


def room(loaded: Loaded, total: int) -> str:
    """In words: what a run needs of a GPU with `total` bytes, and the largest micro-batch that fits."""
    s = loaded.settings
    assert s.micro_batch is not None  # a run decides it when it begins
    model = BertForPreTraining(s.model_config(loaded.tokenizer.vocab_size)).train()
    state = STATE * sum(p.size for p in model.parameters())
    model.bert.encoder.recompute = s.recompute
    each = activations(model, s.length, s.mask_rate)
    fits = int((SHARE * total - state) // each)
    needs = (f"by the ledger, weights, gradients and moments take {size_text(state)}, and each pair of {s.length} "
             f"tokens keeps {size_text(each)} for backward: {size_text(state + s.micro_batch * each)} for "
             f"{s.micro_batch} pairs at a time, on a GPU with {size_text(total)}")
    if fits < 1:
        return f"{needs}; not even one pair fits: lower --length, --hidden or --layers, or take a larger GPU"
    if fits >= s.micro_batch:
        return f"{needs}; so it should fit: is the GPU shared with another process? `nvidia-smi` lists them"
    otherwise = "" if s.recompute else ", or --recompute"
    return f"{needs}; start again with --micro-batch {fits}, which changes no result beyond rounding{otherwise}"


def activations(model: BertForPreTraining, length: int, mask_rate: float) -> int:
    """Bytes that one example's forward pass keeps for its backward pass, which is most of what it ever holds."""
    loss = model(**example_batch(model.config, length, mask_rate), labelled_only=True).loss
    assert loss is not None and loss.node is not None
    nodes = [node for node in topological_order(loss.node) if isinstance(node, Node)]
    weights = {id(owner(p.data)) for p in model.parameters()}
    return new_bytes([x for node in nodes for x in arrays(node.saved)], weights)


def example_batch(config: BertConfig, length: int, mask_rate: float) -> dict[str, np.ndarray]:
    """A batch of one; which words are in it makes no difference to memory."""
    labels = np.full((1, length), IGNORE_INDEX)
    labels[:, 1:1 + max(1, round(mask_rate * length))] = 1
    return {"input_ids": np.full((1, length), config.vocab_size - 1), "labels": labels,
            "next_sentence_label": np.zeros(1, int)}
