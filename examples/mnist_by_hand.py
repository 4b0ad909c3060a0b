"""MNIST in plain steps, from one affine layer to a trained net, with nothing but `mlpx.kernels`.

No MLP, no optimizer, no training loop of the library: each array is allocated here, each kernel is
called here. Read it from top to bottom. Without MNIST's files the 8 x 8 digits of scikit-learn are
used.

    python examples/mnist_by_hand.py [--data-dir DIR] [--out runs/examples]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _drawing import BLUE, GREEN, RED, arguments, panels, save

from mlpx.data import Dataset, load_dataset
from mlpx.errors import DataError
from mlpx.kernels import affine
from mlpx.kernels.activations import Sigmoid
from mlpx.kernels.losses import SoftmaxCrossEntropy

HIDDEN, CLASSES, BATCH, RATE = 50, 10, 100, 0.5
Array = np.ndarray


def empty(*shape: int) -> Array:
    return np.zeros(shape, dtype=np.float32)


class Net:
    """x -> affine -> sigmoid -> affine -> softmax and cross-entropy, and all of it backwards."""

    def __init__(self, d: int, *, seed: int = 0) -> None:
        # 1. The parameters: small random weights, biases of zero.
        rng = np.random.default_rng(seed)
        self.W1 = (rng.normal(size=(d, HIDDEN)) / np.sqrt(d)).astype(np.float32)
        self.W2 = (rng.normal(size=(HIDDEN, CLASSES)) / np.sqrt(HIDDEN)).astype(np.float32)
        self.b1, self.b2 = empty(HIDDEN), empty(CLASSES)

        # 2. A place for each gradient, of its parameter's shape.
        self.dW1, self.db1 = np.zeros_like(self.W1), np.zeros_like(self.b1)
        self.dW2, self.db2 = np.zeros_like(self.W2), np.zeros_like(self.b2)

        # 3. A place for what lies between: kernels allocate nothing, they write where told.
        self.f, self.loss = Sigmoid(), SoftmaxCrossEntropy()
        self.y, self.z = empty(BATCH, HIDDEN), empty(BATCH, CLASSES)
        self.dy, self.dz = empty(BATCH, HIDDEN), empty(BATCH, CLASSES)
        self.rows = empty(BATCH, 1)
        self.ones = empty(1, BATCH) + 1
        self.share = empty(BATCH, 1) + np.float32(1 / BATCH)  # each row's weight in the mean

    def forward(self, x: Array) -> Array:
        """The logits (n, 10) of x (n, d)."""
        n = len(x)
        y, z = self.y[:n], self.z[:n]
        affine.forward(np, x, self.W1, self.b1, out=y)  # z1 = x W1 + b1
        self.f.forward(np, y, out=y, work=scratch(self.f, y))  # y = sigmoid(z1), over z1
        affine.forward(np, y, self.W2, self.b2, out=z)  # z = y W2 + b2
        return z

    def backward(self, x: Array, t: Array) -> float:
        """Fill the gradients for x (BATCH, d) and one-hot t (BATCH, 10); returns the mean loss."""
        z, y = self.forward(x), self.y
        # The loss of each row, and dz = (softmax(z) - t) / n.
        self.loss.gradient(
            np, z, t, self.share, rows=self.rows, out=self.dz, work=scratch(self.loss, z)
        )
        # Back through the second affine layer: its gradients, and dy.
        affine.backward(
            np, self.dz, y, self.W2, ones=self.ones, dW=self.dW2, db=self.db2, dx=self.dy
        )
        # Back through the sigmoid: dy becomes dz1 = dy y (1 - y).
        self.f.backward(np, self.dy, y, out=self.dy, work=scratch(self.f, y))
        # Back through the first affine layer, which needs no dx.
        affine.backward(np, self.dy, x, self.W1, ones=self.ones, dW=self.dW1, db=self.db1, dx=None)
        return float(self.rows.mean())

    def update(self, rate: float) -> None:
        """One step down the gradient."""
        self.W1 -= rate * self.dW1
        self.b1 -= rate * self.db1
        self.W2 -= rate * self.dW2
        self.b2 -= rate * self.db2

    def predict(self, x: Array) -> Array:
        """The likeliest class of each row of x (n, d)."""
        parts = [self.forward(x[i : i + BATCH]).argmax(axis=1) for i in range(0, len(x), BATCH)]
        return np.concatenate(parts)


def scratch(kernel: Any, like: Array) -> tuple[Array, ...]:
    """The scratch arrays of a kernel: some of `like`'s shape, some of one column."""
    widths = [like.shape[1]] * kernel.scratch + [1] * kernel.columns
    return tuple(empty(len(like), width) for width in widths)


def load(data_dir: Path | None) -> Dataset:
    """MNIST, or the small digits if its files are missing."""
    try:
        return load_dataset("mnist", data_dir=data_dir, download=False)
    except DataError as error:
        print(f"MNIST is not here ({type(error).__name__}); the 8 x 8 digits instead")
        return load_dataset("digits")


def train(data: Dataset, *, steps: int) -> tuple[Net, list[float], list[float]]:
    """The trained net, the loss of every step, and the test accuracy at twenty points."""
    x = (data.x_train * data.scale).astype(np.float32)
    x_test = (data.x_test * data.scale).astype(np.float32)
    t = np.eye(CLASSES, dtype=np.float32)[data.y_train]
    net, rng = Net(x.shape[1]), np.random.default_rng(1)
    losses, accuracies = [], []
    for step in range(steps):
        batch = rng.integers(0, len(x), size=BATCH)
        losses.append(net.backward(x[batch], t[batch]))
        net.update(RATE)
        if (step + 1) % (steps // 20) == 0:
            accuracies.append(float((net.predict(x_test) == data.y_test).mean()))
    return net, losses, accuracies


def draw(data: Dataset, net: Net, losses: list[float], accuracies: list[float], out: Path) -> Path:
    figure, axes = panels(1, 2, (15, 4.4), width_ratios=(1.2, 2.4))
    curve, images = axes
    curve.plot(losses, color=BLUE, linewidth=0.5, alpha=0.5)
    window = max(1, len(losses) // 50)
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    curve.plot(np.arange(len(smooth)) + window / 2, smooth, color=BLUE)
    curve.set(title="Loss of each step", xlabel="step", ylim=(0, None))
    right = curve.twinx()
    moments = np.linspace(0, len(losses), len(accuracies) + 1)[1:]
    right.plot(moments, accuracies, "o-", color=GREEN, ms=3)
    right.set(ylim=(0, 1.02))
    right.set_ylabel(f"test accuracy, {accuracies[-1]:.1%} at last", color=GREEN)
    images.axis("off")
    images.set_title("Test images with the net's answers; then what twelve hidden units look for")
    x = (data.x_test * data.scale).astype(np.float32)
    answers = net.predict(x)
    wrong = np.flatnonzero(answers != data.y_test)
    shown = np.concatenate([np.arange(24 - min(6, len(wrong))), wrong[:6]])
    for i, row in enumerate(shown):
        colour = GREEN if answers[row] == data.y_test[row] else RED
        place(images, i % 12, i // 12, x[row].reshape(data.image_shape), "Greys")
        images.text((i % 12) + 0.5, -(i // 12) * 1.3 - 1.12, answers[row], color=colour,
                    ha="center", va="center", weight="bold")  # fmt: skip
    for i, weights in enumerate(net.W1.T[:12]):
        place(images, i, 2, weights.reshape(data.image_shape), "RdBu")
    images.set(xlim=(0, 12), ylim=(-3.9, 0.05))
    return save(figure, out, "mnist_by_hand")


def place(axes: Any, column: int, row: int, image: Array, colours: str) -> None:
    """An image in the grid."""
    low, high = (0, 1) if colours == "Greys" else (-abs(image).max(), abs(image).max())
    extent = (column + 0.05, column + 0.95, -row * 1.3 - 0.95, -row * 1.3 - 0.05)
    axes.imshow(image, cmap=colours, vmin=low, vmax=high, extent=extent, aspect="equal")


def main() -> None:
    given = arguments(__doc__, data_dir={"type": Path}, steps={"type": int, "default": 3000})
    data = load(given.data_dir)
    net, losses, accuracies = train(data, steps=400 if given.quick else given.steps)
    print(f"{data.name}: loss {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f}")
    print(f"test accuracy {accuracies[-1]:.4f} after {len(losses)} steps of {BATCH} images")
    draw(data, net, losses, accuracies, given.out)


if __name__ == "__main__":
    main()
