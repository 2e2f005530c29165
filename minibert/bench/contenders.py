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
