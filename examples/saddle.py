"""Every optimizer, started beside a saddle.

f(x, y) = x**2 / 2 + y**4 / 4 - y**2 / 2 has a saddle at the origin and minima at y = +1 and -1. The
start is a thousandth off the ridge, so the slope that leads away is tiny at first. Plain descent
follows it and takes its time; rules that divide by the gradient's usual size leave at once.

    python examples/saddle.py [--out runs/examples]
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from _descent import Vector, descend
from _drawing import COLOURS, FAINT, INK, arguments, panels, save

from mlpx import Optimizer

START = (-1.0, 1e-3)
STYLES = ("-", "--", ":")
RATES = {"sgd": 0.1, "momentum": 0.1, "nesterov": 0.1, "adadelta": 1.0, "adagrad": 0.1}
RATE = 0.03  # for those whose steps have about the length of the rate


def f(x: Vector, y: Vector) -> Vector:
    return x**2 / 2 + y**4 / 4 - y**2 / 2


def gradient(p: Vector) -> Vector:
    return np.array([p[0], p[1] ** 3 - p[1]])


def rules() -> dict[str, Optimizer]:
    """Every optimizer in the table that moves step by step, at a rate that suits the curve."""
    chosen = {}
    for name in sorted(Optimizer.table):
        rule = Optimizer.resolve(name)
        if not getattr(rule, "full_batch", False):  # L-BFGS searches along lines instead
            chosen[name] = dataclasses.replace(rule, learning_rate=RATES.get(name, RATE))
    return chosen


def paths(steps: int) -> dict[str, Vector]:
    """The points (steps + 1, 2) that each optimizer visits."""
    return {name: descend(rule, gradient, START, steps=steps) for name, rule in rules().items()}


def escaped(path: Vector) -> int | None:
    """The first step at which |y| is above one half; None if it never is."""
    away = np.abs(path[:, 1]) > 0.5
    return int(away.argmax()) if away.any() else None


def draw(visited: dict[str, Vector], out: Path) -> Path:
    figure, (map_, race) = panels(1, 2, (14, 6), width_ratios=(1, 1.25))
    x, y = np.meshgrid(np.linspace(-1.15, 0.7, 200), np.linspace(-0.25, 1.25, 200))
    map_.contourf(x, y, f(x, y), levels=30, cmap="Greys", alpha=0.35)
    map_.contour(x, y, f(x, y), levels=30, colors="white", linewidths=0.6)
    order = sorted(visited, key=lambda name: (escaped(visited[name]) or len(visited[name]), name))
    for i, name in enumerate(order):
        path, steps = visited[name], escaped(visited[name])
        look = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS)]}
        map_.plot(*path.T, linewidth=1.4, **look)
        race.plot(
            np.abs(path[:, 1]), label=f"{name}  {'never' if steps is None else steps}", **look
        )
    map_.plot(*START, "o", color=INK, ms=8)
    map_.plot(0, 0, "x", color=INK, ms=9, mew=2)
    map_.plot(0, 1, "*", color=INK, ms=14)
    for text, where in (("start", START), ("saddle", (0, 0)), ("minimum", (0, 1))):
        map_.annotate(text, where, xytext=(8, -14), textcoords="offset points")
    map_.set(title="The way from the saddle", xlabel="x", ylabel="y", ylim=(-0.25, 1.25))
    race.axhline(1, color=FAINT, zorder=0)
    race.set(
        title="How far off the ridge", xlabel="step", ylabel="|y|", yscale="log",
        xlim=(0, len(path) - 1), ylim=(5e-4, 3),
    )  # fmt: skip
    race.legend(title="steps to |y| > 0.5", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return save(figure, out, "saddle")


def main() -> None:
    given = arguments(__doc__)
    visited = paths(steps=150)
    for name, path in visited.items():
        print(f"{name:<12} leaves after {escaped(path)} steps, ends at {np.round(path[-1], 3)}")
    draw(visited, given.out)


if __name__ == "__main__":
    main()
