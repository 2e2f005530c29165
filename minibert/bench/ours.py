"""Worker: minibert's own training step."""

from typing import Any

import numpy as np

from minibert import __version__
from minibert.bench.profile import profile_step
from minibert.bench.served import Served, serve
from minibert.bench.shape import Shape
from minibert.bench.step import TrainingStep


def build(arguments: dict[str, Any]) -> Served:
    """Arguments: shape, threads, and the options of TrainingStep."""
    options = dict(arguments)
    shape, threads = Shape(*options.pop("shape")), options.pop("threads")
    training = TrainingStep(shape, threads, **options)

    def step() -> float:
        training()
        return training.loss

    version = f"minibert {__version__}, NumPy {np.__version__}"
    return Served(step, {"version": version, "micro_batch": training.micro_batch},
                  {"profile": lambda: profile_step(shape, **options)._asdict()})


if __name__ == "__main__":
    serve(build)
