"""Who takes the step: minibert, and the libraries that are installed beside it."""

import importlib.util
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """A worker module, what it is called in tables, and what it needs to be installed."""

    name: str
    module: str
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """The libraries it needs that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


OURS = Contender("minibert", "minibert.bench.ours")
PEERS = (
    Contender("PyTorch float32 eager", "minibert.bench.peers.torch_step", ("torch", "transformers"),
              {"bfloat16": False}),
    Contender("PyTorch bfloat16 autocast (sdpa)", "minibert.bench.peers.torch_step", ("torch", "transformers"),
              {"bfloat16": True}),
    Contender("JAX jit", "minibert.bench.peers.jax_step", ("jax", "optax")),
)


def _on_gpu(name: str, precision: str, compiled: str = "") -> Contender:
    return Contender(name, "minibert.bench.peers.torch_cuda_step", ("torch", "transformers"),
                     {"precision": precision, "compiled": compiled})


GPU_PEERS = (_on_gpu("PyTorch float32", "float32"), _on_gpu("PyTorch TF32", "tf32"),
             _on_gpu("PyTorch bfloat16 autocast", "bfloat16"),
             _on_gpu("PyTorch TF32 (compiled)", "tf32", "default"),
             _on_gpu("PyTorch TF32 (compiled graph)", "tf32", "reduce-overhead"),
             _on_gpu("PyTorch bfloat16 (compiled graph)", "bfloat16", "reduce-overhead"))
