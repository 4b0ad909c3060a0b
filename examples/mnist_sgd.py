"""The tutorials' network: 784-50-10, sigmoid, plain SGD, every batch drawn at random.

Weights start at N(0, 0.01**2), the learning rate is 0.1, and 50,000 batches of 100 images are drawn
with replacement. The mean over three seeds is a test accuracy of about 97.0 %.

    python examples/mnist_sgd.py [--data-dir DIR] [--steps 50000] [--seeds 0 1 2] [--device cpu]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlpx import MLP, SGD, Rescale
from mlpx.data import load_dataset


def train(seed: int, *, steps: int, data_dir: Path | None, device: str) -> float:
    """Test accuracy after `steps` steps from `seed`."""
    mnist = load_dataset("mnist", data_dir=data_dir)
    model = MLP(
        [784, Rescale(1 / 255), 50, 10],
        activation="sigmoid",
        initializer="normal",  # N(0, 0.01**2)
        seed=seed,
        device=device,
    )
    model.fit(
        mnist.x_train,
        mnist.y_train,
        steps=steps,
        batch_size=100,
        optimizer=SGD(0.1),
        sampling="with_replacement",
        verbose=0,
    )
    return model.evaluate(mnist.x_test, mnist.y_test)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    reached = []
    for seed in given.seeds:
        reached.append(train(seed, steps=given.steps, data_dir=given.data_dir, device=given.device))
        print(f"seed {seed}: test accuracy {reached[-1]:.4f}", flush=True)
    print(f"mean of {len(reached)} seeds: {sum(reached) / len(reached):.4f}")


if __name__ == "__main__":
    main()
