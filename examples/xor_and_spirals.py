"""XOR, which no straight line separates, and two spirals, with the regions in which nets decide for
a class.

The accuracy on the spirals is for points that were not trained on.

    python examples/xor_and_spirals.py [--out runs/examples]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _drawing import BLUE, FAINT, ORANGE, arguments, panels, save
from matplotlib.colors import LinearSegmentedColormap

from mlpx import MLP

REGIONS = LinearSegmentedColormap.from_list("regions", ["#f3c9a5", "#ffffff", "#b4c9e6"])


def xor() -> tuple[np.ndarray, np.ndarray]:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return x, np.array([0, 1, 1, 0])


def spirals(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n points on each of two spirals of one and a half turns, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.sqrt(rng.uniform(0.02, 1, n)) * 3 * np.pi
    arm = np.stack([t * np.cos(t), t * np.sin(t)], axis=1) / (3 * np.pi)
    x = np.concatenate([arm, -arm]) + rng.normal(scale=0.015, size=(2 * n, 2))
    return x, np.repeat([0, 1], n)


def learn_xor(hidden: int | None) -> MLP:
    """A net for XOR, with one hidden layer or none."""
    model = MLP([2, 2] if hidden is None else [2, hidden, 2], activation="tanh", seed=3)
    model.fit(*xor(), epochs=400, batch_size=4, optimizer="adam", learning_rate=0.05, verbose=0)
    return model


def learn_spirals(model: MLP, epochs: int) -> None:
    model.fit(
        *spirals(), epochs=epochs, batch_size=32, optimizer="adam", learning_rate=5e-3, verbose=0
    )


def accuracy(model: MLP, data: tuple[np.ndarray, np.ndarray]) -> float:
    return model.evaluate(*data)["accuracy"]


def draw_regions(axes: Any, model: MLP, data: tuple[np.ndarray, np.ndarray], title: str) -> None:
    x, y = data
    low, high = x.min() - 0.25, x.max() + 0.25
    side = np.linspace(low, high, 200)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    share = model.predict_proba(grid)[:, 1].reshape(200, 200)
    axes.contourf(side, side, share, levels=20, cmap=REGIONS, vmin=0, vmax=1)
    axes.contour(side, side, share, levels=[0.5], colors="white", linewidths=1.5)
    if np.ptp(share) < 0.01:
        axes.text((low + high) / 2, (low + high) / 2, f"{share.mean():.2f} everywhere", ha="center")
    size = 110 if len(x) == 4 else 12
    for label, colour in enumerate((ORANGE, BLUE)):
        axes.scatter(*x[y == label].T, color=colour, s=size, edgecolor="white", linewidth=0.4)
    axes.set(title=f"{title}\n{accuracy(model, data):.0%} right", xticks=[], yticks=[], aspect=1)
    axes.spines[:].set(visible=True, color=FAINT)


def main() -> None:
    given = arguments(__doc__)
    figure, axes = panels(1, 5, (16, 3.9))
    for axis, hidden in zip(axes, (None, 4), strict=False):
        model = learn_xor(hidden)
        title = "XOR, no hidden layer" if hidden is None else f"XOR, {hidden} hidden units"
        draw_regions(axis, model, xor(), title)
        print(f"{title}: accuracy {accuracy(model, xor()):.2f}")
    draw_spirals(axes[2:], (5, 15, 40) if given.quick else (5, 15, 100))
    save(figure, given.out, "xor_and_spirals")


def draw_spirals(axes: Any, stages: tuple[int, ...]) -> None:
    """One net at several stages of its training, judged on points it has not seen."""
    model, trained = MLP([2, 48, 48, 2], activation="relu", seed=0), 0
    for axis, epochs in zip(axes, stages, strict=True):
        learn_spirals(model, epochs - trained)
        trained = epochs
        draw_regions(axis, model, spirals(seed=1), f"Spirals after {epochs} epochs")
        print(f"spirals after {epochs} epochs: accuracy {accuracy(model, spirals(seed=1)):.3f}")


if __name__ == "__main__":
    main()
