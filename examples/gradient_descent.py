"""Gradient descent on a curve with a local and a global minimum: three rates, and momentum.

Too small a rate creeps, a good one settles in the nearest minimum, too large a one never settles.
Momentum at the good rate rolls through the local minimum and over the hill into the global one.

    python examples/gradient_descent.py [--out runs/examples]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _descent import Vector, descend
from _drawing import BLUE, FAINT, GREEN, INK, ORANGE, RED, arguments, panels, save

from mlpx import Optimizer
from mlpx.optimizers import SGD

START = 1.6


def f(x: Vector) -> Vector:
    return (x**2 - 1) ** 2 + 0.3 * x


def slope(x: Vector) -> Vector:
    return 4 * x * (x**2 - 1) + 0.3


def runs() -> dict[str, tuple[str, Optimizer]]:
    """A colour and an optimizer for each panel."""
    momentum = Optimizer.resolve("momentum")
    return {
        "rate 0.001\nit creeps": (ORANGE, SGD(0.001)),
        "rate 0.02\ninto the nearest minimum": (BLUE, SGD(0.02)),
        "rate 0.25\nnever settles": (RED, SGD(0.25)),
        "rate 0.02, momentum 0.9\nover the hill": (
            GREEN,
            type(momentum)(0.02, momentum=0.9),
        ),
    }


def paths(steps: int) -> dict[str, Vector]:
    """The points each run visits (steps + 1,)."""
    return {
        title: descend(rule, slope, [START], steps=steps)[:, 0]
        for title, (_, rule) in runs().items()
    }


def draw(visited: dict[str, Vector], out: Path) -> Path:
    figure, axes = panels(2, 4, (14, 6.2), sharey="row", height_ratios=(3, 2))
    x = np.linspace(-1.75, 2.0, 400)
    for (title, path), top, below in zip(visited.items(), *axes, strict=True):
        colour = runs()[title][0]
        top.plot(x, f(x), color=INK, linewidth=1.2, alpha=0.5)
        top.plot(path, f(path), "-", color=colour, linewidth=0.8, alpha=0.6)
        top.plot(path, f(path), "o", color=colour, ms=5, mec="white", mew=0.6, alpha=0.8)
        top.plot(path[0], f(path[0]), "o", color="white", mec=colour, ms=9, zorder=4)
        top.plot(path[-1], f(path[-1]), "o", color=colour, mec="white", ms=11, zorder=4)
        top.set(title=title, xlim=(-1.75, 2.0), ylim=(-0.6, 4.6))
        below.axhline(-1.036, color=FAINT)
        below.axhline(0.960, color=FAINT)
        below.plot(path, color=colour)
        below.set(xlabel="step", ylim=(-1.75, 2.0), xlim=(0, len(path)))
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("x")
    axes[1, 0].text(1, 0.960, " local minimum", va="bottom", fontsize=8)
    axes[1, 0].text(1, -1.036, " global minimum", va="bottom", fontsize=8)
    return save(figure, out, "gradient_descent")


def main() -> None:
    given = arguments(__doc__)
    visited = paths(steps=120)
    for title, path in visited.items():
        print(f"{' '.join(title.split()):<44} ends at x = {path[-1]:+.3f}, loss {f(path[-1]):+.3f}")
    draw(visited, given.out)


if __name__ == "__main__":
    main()
