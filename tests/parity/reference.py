"""Hugging Face's side of a comparison: the only file of the tests, with its users, that needs PyTorch."""

from typing import Any

import numpy as np
import torch
import transformers

from .compare import Arrays

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)


def random_model(config: dict[str, Any], seed: int) -> transformers.BertForPreTraining:
    """A float64 BERT whose every number is random, so that no gain of 1 or bias of 0 hides a mistake."""
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "attn_implementation": "eager"}
    model = transformers.BertForPreTraining(transformers.BertConfig(**config, **settings)).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            p.copy_(centre + 0.4 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model


def random_batch(config: dict[str, Any], rows: int, length: int, seed: int) -> Arrays:
    """Text of several lengths, padded on the right; about a third of the words are labelled, but at least one is."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, rows)
    lengths[rng.integers(rows)] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    labels = np.where((rng.random((rows, length)) < 0.3) & (mask == 1),
                      rng.integers(0, config["vocab_size"], (rows, length)), -100)
    labels[0, 0] = config["vocab_size"] - 1
    return {"input_ids": rng.integers(1, config["vocab_size"], (rows, length)) * mask, "attention_mask": mask,
            "token_type_ids": rng.integers(0, config["type_vocab_size"], (rows, length)), "labels": labels,
            "next_sentence_label": rng.integers(0, 2, rows)}


def losses(output: Any, batch: Arrays) -> dict[str, torch.Tensor]:
    cross_entropy = torch.nn.functional.cross_entropy
    masked = cross_entropy(output.prediction_logits.flatten(0, 1), torch.tensor(batch["labels"]).flatten())
    pair = cross_entropy(output.seq_relationship_logits, torch.tensor(batch["next_sentence_label"]))
    return {"masked_lm_loss": masked, "next_sentence_loss": pair}


def run(model: torch.nn.Module, batch: Arrays, **options: Any) -> Any:
    return model(**{name: torch.tensor(array) for name, array in batch.items()}, **options)


def weights(model: torch.nn.Module) -> Arrays:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def outputs_and_gradients(model: transformers.BertForPreTraining, batch: Arrays) -> Arrays:
    """Logits, losses and the gradient of every parameter; transformers itself adds up the two losses."""
    output = run(model, batch, output_hidden_states=True)
    output.loss.backward()
    values = losses(output, batch) | {
        "prediction_logits": output.prediction_logits, "seq_relationship_logits": output.seq_relationship_logits,
        "pooled": model.bert.pooler(output.hidden_states[-1]), "loss": output.loss}
    gradients = {f"grad/{name}": p.grad.numpy().copy() for name, p in model.named_parameters()}
    model.zero_grad()
    return {f"out/{name}": value.detach().numpy() for name, value in values.items()} | gradients


def train(model: transformers.BertForPreTraining, batch: Arrays, training: dict[str, Any]) -> Arrays:
    """The same training as `compare.train`, by PyTorch's own optimiser and clipping."""
    groups: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, p in model.named_parameters():
        groups[not (name.endswith(".bias") or "LayerNorm" in name)].append(p)
    optimizer = torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": training["weight_decay"]},
         {"params": groups[False], "weight_decay": 0.0}], betas=tuple(training["betas"]), eps=training["eps"])
    values = []
    for step in range(1, training["steps"] + 1):
        loss = run(model, batch).loss
        optimizer.zero_grad()
        loss.backward()
        values.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), training["max_norm"])
        for group in optimizer.param_groups:
            group["lr"] = training["lr"] * min(1.0, step / training["warmup"])
        optimizer.step()
    return {"trained/losses": np.array(values)} | {f"trained/{n}": a for n, a in weights(model).items()}
