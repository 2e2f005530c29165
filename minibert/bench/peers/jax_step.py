"""Worker: the training step in JAX, compiled as a whole, with the optimiser of `optax`.

JAX brings no BERT, so here is one, written as JAX likes it: a function of a tree of parameters.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from minibert.bench.served import Served, serve
from minibert.bench.shape import POSITIONS, Shape
from minibert.bench.synthetic import synthetic_batch
from minibert.ops.loss import IGNORE_INDEX

DROPOUT = 0.1
Tree = dict[str, Any]


def parameters(shape: Shape) -> Tree:
    """All of BERT's, under short names; maps are stored as (inputs, outputs)."""
    rng = np.random.default_rng(0)
    H, F, V = shape.hidden, shape.width, shape.vocabulary

    def table(*size: int) -> jax.Array:
        return jnp.asarray(0.02 * rng.standard_normal(size, np.float32))

    def affine(inputs: int, outputs: int) -> Tree:
        return {"w": table(inputs, outputs), "b": jnp.zeros(outputs)}

    def norm() -> Tree:
        return {"gain": jnp.ones(H), "b": jnp.zeros(H)}

    layers = [{"qkv": affine(H, 3 * H), "out": affine(H, H), "norm1": norm(),
               "up": affine(H, F), "down": affine(F, H), "norm2": norm()} for _ in range(shape.layers)]
    return {"words": table(V, H), "positions": table(POSITIONS, H), "segments": table(2, H), "norm": norm(),
            "layers": layers, "pooler": affine(H, H), "pair": affine(H, 2), "transform": affine(H, H),
            "transform_norm": norm(), "word_bias": jnp.zeros(V)}


def apply_affine(p: Tree, x: jax.Array) -> jax.Array:
    """x w + b."""
    return x @ p["w"] + p["b"]


def apply_norm(p: Tree, x: jax.Array) -> jax.Array:
    """Layer normalisation of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-12) * p["gain"] + p["b"]


def gelu(x: jax.Array) -> jax.Array:
    """With erf, as the others compute it."""
    return jax.nn.gelu(x, approximate=False)


def dropout(x: jax.Array, key: jax.Array) -> jax.Array:
    """Drop a tenth of the numbers, and scale the others up."""
    return jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0.0)


def layer(p: Tree, x: jax.Array, mask: jax.Array, heads: int, key: jax.Array) -> jax.Array:
    """One encoder layer, x (B, T, H) -> (B, T, H)."""
    B, T, H = x.shape
    on_probs, on_attention, on_feed_forward = jax.random.split(key, 3)
    q, k, v = jnp.moveaxis(apply_affine(p["qkv"], x).reshape(B, T, 3, heads, H // heads), (2, 3), (0, 2))
    scores = q @ k.swapaxes(-1, -2) * (H // heads) ** -0.5
    probs = dropout(jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)), on_probs)
    context = (probs @ v).swapaxes(1, 2).reshape(B, T, H)
    x = apply_norm(p["norm1"], x + dropout(apply_affine(p["out"], context), on_attention))
    feed_forward = apply_affine(p["down"], gelu(apply_affine(p["up"], x)))
    return apply_norm(p["norm2"], x + dropout(feed_forward, on_feed_forward))


def loss(p: Tree, batch: dict[str, jax.Array], key: jax.Array, heads: int) -> jax.Array:
    """Masked words plus next sentence."""
    keys = jax.random.split(key, len(p["layers"]) + 1)
    T = batch["input_ids"].shape[1]
    x = p["words"][batch["input_ids"]] + p["segments"][batch["token_type_ids"]] + p["positions"][:T]
    x = dropout(apply_norm(p["norm"], x), keys[0])
    mask = batch["attention_mask"][:, None, None, :] > 0
    for parameters, layer_key in zip(p["layers"], keys[1:], strict=True):
        x = layer(parameters, x, mask, heads, layer_key)
    transformed = gelu(apply_affine(p["transform"], x.reshape(-1, x.shape[-1])[batch["rows"]]))
    scores = apply_norm(p["transform_norm"], transformed) @ p["words"].T + p["word_bias"]
    pair_scores = apply_affine(p["pair"], jnp.tanh(apply_affine(p["pooler"], x[:, 0])))
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    return (cross_entropy(scores, batch["words"]).mean()
            + cross_entropy(pair_scores, batch["next_sentence_label"]).mean())


def build(arguments: dict[str, Any]) -> Served:
    """Arguments: shape, threads."""
    shape = Shape(*arguments["shape"])
    jax.config.update("jax_platforms", "cpu")
    limit_threads(arguments["threads"])
    batch = synthetic_batch(shape)
    labels = batch.pop("labels").reshape(-1)
    batch["rows"] = np.flatnonzero(labels != IGNORE_INDEX)
    batch["words"] = labels[batch["rows"]]
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4, weight_decay=0.01))
    tree, key = parameters(shape), jax.random.key(0)
    state = (tree, optimizer.init(tree), key)
    arrays = {name: jnp.asarray(array) for name, array in batch.items()}

    def update(state: Any) -> Any:
        tree, moments, key = state
        key, used = jax.random.split(key)
        value, gradients = jax.value_and_grad(loss)(tree, arrays, used, shape.heads)
        changes, moments = optimizer.update(gradients, moments, tree)
        return (optax.apply_updates(tree, changes), moments, key), value

    compiled = jax.jit(update, donate_argnums=0)

    def step() -> float:
        nonlocal state
        state, value = compiled(state)
        return float(value)  # waits for the whole step, which is one program

    return Served(step, {"version": f"JAX {jax.__version__}, optax {optax.__version__}"})


def limit_threads(threads: int) -> None:
    """Keep this process on `threads` cores, before JAX looks how many there are: it has no setting for it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    elif threads < (os.cpu_count() or 1):
        raise OSError("on this system JAX cannot be limited to fewer threads than there are cores")


if __name__ == "__main__":
    serve(build)
