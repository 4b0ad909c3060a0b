"""What compute-sanitizer watches, ``python -m gpu.sanitized``: a few steps of a small net by
graphs, with cublasLt's products and with our own; its last line is what it found, as JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np

import mlpx
from gpu.data import forced
from gpu.section import Row
from mlpx.engines.cuda.planner import StepPlanner

ROWS, BATCH_SIZE, EPOCHS = 83, 16, 3
"""An epoch is 5 steps and a ragged one, so that by the last there are graphs of 1, 2 and 4."""
LAYERS: tuple[Any, ...] = (20, 24, "batch_norm", "dropout", 17, "layer_norm", 3)
QUICK_LAYERS = (20, 8, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    signal.alarm(given.seconds)  # whatever becomes of who started it
    backend: Any = mlpx.get_backend(given.device)
    # Each array an allocation of CUDA's own: so what is written behind its end is found.
    backend.xp.cuda.set_allocator(None)
    print(json.dumps(steps(given.device)), flush=True)


def steps(device: str, *, quick: bool = False) -> Row:
    """Train with each kind of products, and say on which engine, and by which graphs."""
    found: Row = {"passed": True}
    for products, activation in (("cublasLt", "relu"), ("our own", "sigmoid")):
        with plain() if products == "our own" else nullcontext():
            row = found[products] = train(QUICK_LAYERS if quick else LAYERS, activation, device)
        if not row["passed"]:
            found |= {"passed": False, "why": f"products of {products}: {row['why']}"}
    return found


def plain() -> Any:
    """A context without cublasLt."""
    return patch.object(StepPlanner, "_open_cublaslt", lambda self: None)


def train(layers: tuple[Any, ...], activation: str, device: str) -> Row:
    """A fit with a ragged batch, dropout and norms, and the graphs it made, by their steps."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(ROWS, layers[0])).astype(np.float32), rng.integers(0, 3, size=ROWS)
    model = mlpx.MLP(layers, activation=activation, device=device)
    # Steps are slow here, and few would be run at once.
    with patch("mlpx.training.epochs.RUN_S", 1e6):
        model.fit(x, y, epochs=EPOCHS, batch_size=BATCH_SIZE, engine="cuda", verbose=0)
    row = forced(model)
    execute: Any = model.prepared[0].execute
    row["graphs"] = sorted(count for _, count in execute.replayer.graphs)
    if row["passed"] and not row["graphs"]:
        row |= {"passed": False, "why": "no graph was captured"}
    return row


if __name__ == "__main__":
    main()
