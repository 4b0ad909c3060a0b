"""The same network as in mnist_sgd.py, trained by Adam: 10 epochs in batches of 32.

Weights are initialised by the rule of Glorot and Bengio, the default for sigmoid. The mean over
three seeds is a test accuracy of about 96.9 %; from N(0, 0.01**2) it is 0.2 lower.

    python examples/mnist_adam.py [--data-dir DIR] [--epochs 10] [--seeds 0 1 2] [--device cpu]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlpx import MLP, Rescale
from mlpx.data import load_dataset


def train(seed: int, *, epochs: int, data_dir: Path | None, device: str) -> float:
    """Test accuracy after `epochs` epochs from `seed`."""
    mnist = load_dataset("mnist", data_dir=data_dir)
    model = MLP(
        [784, Rescale(1 / 255), 50, 10],
        activation="sigmoid",
        seed=seed,
        device=device,
    )
    model.fit(
        mnist.x_train, mnist.y_train, epochs=epochs, batch_size=32, optimizer="adam", verbose=0
    )
    return model.evaluate(mnist.x_test, mnist.y_test)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    reached = []
    for seed in given.seeds:
        reached.append(
            train(seed, epochs=given.epochs, data_dir=given.data_dir, device=given.device)
        )
        print(f"seed {seed}: test accuracy {reached[-1]:.4f}", flush=True)
    print(f"mean of {len(reached)} seeds: {sum(reached) / len(reached):.4f}")


if __name__ == "__main__":
    main()
