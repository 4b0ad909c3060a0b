"""The vanishing gradient: its norm layer by layer in a deep sigmoid net, against ReLU.

A sigmoid's slope is at most 1/4, so on its way back through ten layers the gradient is multiplied
by a small number ten times, and the first layers hardly learn. A ReLU that is on has slope 1.

    python examples/vanishing_gradient.py [--out runs/examples]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _drawing import BLUE, RED, arguments, panels, save

from mlpx import MLP, History, Rescale
from mlpx.data import load_dataset

DEPTH, WIDTH = 10, 48


def train(activation: str, *, epochs: int) -> History:
    """The history of a net of DEPTH hidden layers on the digits, with every gradient's norm."""
    digits = load_dataset("digits")
    model = MLP([64, Rescale(digits.scale), *[WIDTH] * DEPTH, 10], activation=activation, seed=1)
    return model.fit(
        digits.x_train, digits.y_train, epochs=epochs, batch_size=32, optimizer="sgd",
        learning_rate=0.05, record_gradient_norms=True, verbose=0,
    )  # fmt: skip


def weight_norms(history: History) -> np.ndarray:
    """The norms of dW, (steps, layers)."""
    names = sorted((name for name in history.gradient_norms if name.endswith(".W")), key=layer_of)
    return np.stack([history.gradient_norms[name] for name in names], axis=1)


def layer_of(name: str) -> int:
    return int(name.split(".")[0])


def draw(histories: dict[str, History], out: Path) -> Path:
    figure, axes = panels(1, 4, (16, 4.6), width_ratios=(1.1, 1.1, 1.1, 1))
    start, *maps, losses = axes
    for (name, history), colour in zip(histories.items(), (RED, BLUE), strict=True):
        first = weight_norms(history)[0]
        start.semilogy(range(1, len(first) + 1), first, "o-", color=colour, label=name)
        epochs = np.array(history["loss"])
        losses.plot(range(1, len(epochs) + 1), epochs, color=colour, label=name)
    start.set(title="Norm of dW in the first step", xlabel="layer", ylabel="norm")
    start.legend()
    norms = {name: weight_norms(history) for name, history in histories.items()}
    lowest = min(np.log10(each).min() for each in norms.values())
    for axis, (name, each) in zip(maps, norms.items(), strict=True):
        image = axis.imshow(
            np.log10(each.T), aspect="auto", origin="lower", cmap="magma", vmin=lowest, vmax=0.5,
            extent=(0, len(each), 0.5, each.shape[1] + 0.5), interpolation="nearest",
        )  # fmt: skip
        axis.set(title=f"{name}: norm of dW", xlabel="step", ylabel="layer")
    figure.colorbar(image, ax=maps, pad=0.01).set_label("log10 of the norm", fontsize=9)
    losses.set(title="Training loss", xlabel="epoch", ylim=(0, None))
    losses.legend()
    return save(figure, out, "vanishing_gradient")


def main() -> None:
    given = arguments(__doc__)
    histories = {name: train(name, epochs=3 if given.quick else 20) for name in ("sigmoid", "relu")}
    for name, history in histories.items():
        first = weight_norms(history)[0]
        print(
            f"{name:<8} first layer {first[0]:.1e}, last {first[-1]:.1e}, ratio "
            f"{first[0] / first[-1]:.1e}; accuracy after training {history['accuracy'][-1]:.3f}"
        )
    draw(histories, given.out)


if __name__ == "__main__":
    main()
