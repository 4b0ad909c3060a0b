"""What backpropagation buys: the time of one gradient in four ways, and training in three.

The numerical gradient costs two forward passes for every parameter, so its price grows with the
square of the net's size. Computing only what changes in a net of one hidden layer helps a great
deal, but the price still grows with every parameter. Backpropagation costs about two forward passes
in all. Trying one weight at a time needs no gradient, but does not know the direction either.

    python examples/backprop_against_search.py [--out runs/examples]

Writes the picture, and the times as JSON beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _drawing import BLUE, GREEN, GREY, ORANGE, RED, arguments, panels, save

from mlpx import MLP, SGD, History, Rescale
from mlpx.data import load_dataset
from mlpx.gradcheck.numerical import FORMS, whole_batch
from mlpx.program.data import prepare_data
from mlpx.program.gradients import Backpropagation, GradientRule, Numerical, Search

INPUTS, OUTPUTS, ROWS = 10, 2, 32
GOAL = 0.6  # a loss that each way of training reaches
LOOK = {
    "numerical, loop": (RED, "o-"),
    "numerical, batched": (ORANGE, "o-"),
    "numerical, rank one": (GREEN, "o-"),
    "backpropagation": (BLUE, "o-"),
    "search, one weight": (GREY, "s--"),
}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Random rows whose class is the sign of a product."""
    x = np.random.default_rng(0).normal(size=(ROWS, INPUTS))
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def net(hidden: int) -> MLP:
    return MLP([INPUTS, hidden, OUTPUTS], activation="tanh", dtype="float64", seed=0)


def step_of(model: MLP, rule: GradientRule) -> Callable[[], None]:
    """A training step up to its gradient, or to its trial of a weight."""
    program = whole_batch(model, prepare_data(model, *data()), rule)
    calls = [call.bind(np) for call in program.full.calls[: program.full.gradient_stop]]

    def step() -> None:
        for call in calls:
            call()

    return step


def ways(hidden: int) -> dict[str, Callable[[], object]]:
    """The functions to time, by name."""
    model, rule = net(hidden), Numerical()
    checked = prepare_data(model, *data())
    return {
        "numerical, loop": step_of(model, rule),
        "numerical, batched": lambda: FORMS["batched"](model, checked, rule),
        "numerical, rank one": lambda: FORMS["rank_one"](model, checked, rule),
        "backpropagation": step_of(model, Backpropagation()),
        "search, one weight": step_of(net(hidden), Search()),
    }


def best_s(run: Callable[[], object], *, budget_s: float) -> float:
    """The least time of one call, seconds; at least three calls."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget_s:
        start_s = time.perf_counter()
        run()
        times.append(time.perf_counter() - start_s)
    return min(times)


def measure(widths: tuple[int, ...], *, budget_s: float) -> list[dict[str, float]]:
    """A row for each net: its parameters, and the seconds of each way."""
    return [
        {
            "parameters": net(hidden).parameter_count,
            **{name: best_s(run, budget_s=budget_s) for name, run in ways(hidden).items()},
        }
        for hidden in widths
    ]


def markdown(rows: list[dict[str, float]]) -> str:
    """Times in microseconds, and as multiples of backpropagation's."""
    names = list(rows[0])[1:]
    lines = [["parameters", *names], ["---:"] * (len(names) + 1)]
    for row in rows:
        base = row["backpropagation"]
        cells = [f"{row[name] * 1e6:,.0f} ({row[name] / base:,.1f}x)" for name in names]
        lines.append([f"{row['parameters']:,}", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def digits_net() -> MLP:
    return MLP([64, Rescale(1 / 16), 12, 10], activation="tanh", seed=0)


def trainings(*, quick: bool) -> dict[str, History]:
    """A net for the digits trained three ways, in full batches of 200 images."""
    digits = load_dataset("digits")
    steps = {"backprop": 1000, "numerical": 50, "search": 15_000}
    return {
        gradient: digits_net().fit(
            digits.x_train[:200], digits.y_train[:200],
            steps=count // 20 if quick else count, batch_size=200, gradient=gradient,
            optimizer=SGD(0.5), verbose=0,
        )
        for gradient, count in steps.items()
    }  # fmt: skip


def seconds(history: History) -> np.ndarray:
    """When each step was done, assuming that all took equally long."""
    steps = len(history.step_loss)
    return history.seconds * np.arange(1, steps + 1) / steps


def time_to(history: History, goal: float) -> float | None:
    """Seconds until the loss was at most `goal`."""
    there = np.flatnonzero(history.step_loss <= goal)
    return float(seconds(history)[there[0]]) if len(there) else None


def draw(rows: list[dict[str, float]], trained: dict[str, History], out: Path) -> Path:
    figure, (prices, ratios, race) = panels(1, 3, (16, 5))
    sizes = [row["parameters"] for row in rows]
    for name, (colour, style) in LOOK.items():
        times = np.array([row[name] for row in rows])
        base = np.array([row["backpropagation"] for row in rows])
        prices.loglog(sizes, times * 1e6, style, color=colour, label=name)
        ratios.loglog(sizes, times / base, style, color=colour)
    prices.set(title="Time of one gradient", xlabel="parameters", ylabel="microseconds")
    prices.legend(fontsize=9)
    ratios.set(title="Times backpropagation's", xlabel="parameters", ylabel="ratio")
    ratios.loglog(sizes, sizes, ":", color=GREY, linewidth=1)
    ratios.text(sizes[-1], sizes[-1] / 6, "ratio = parameters", ha="right", va="top", fontsize=8)
    looks = {"backprop": "backpropagation", "numerical": "numerical, loop"}
    for name, history in trained.items():
        race.semilogx(
            seconds(history),
            history.step_loss,
            color=LOOK[looks.get(name, "search, one weight")][0],
            label=name,
        )
    race.set(
        title=f"Digits, {digits_net().parameter_count} parameters", xlabel="seconds", ylabel="loss"
    )
    race.set_ylim(0, None)
    race.axhline(GOAL, color=GREY, linewidth=1, linestyle=":")
    race.legend()
    return save(figure, out, "backprop_against_search")


def main() -> None:
    given = arguments(__doc__)
    widths = (2, 8, 32) if given.quick else (2, 8, 32, 128, 512)
    rows = measure(widths, budget_s=0.02 if given.quick else 0.5)
    print(markdown(rows))
    trained = trainings(quick=given.quick)
    for name, history in trained.items():
        there = time_to(history, GOAL)
        when = "not there yet" if there is None else f"there after {there:.2f} s"
        print(f"to a loss of {GOAL} by {name:<9}: {when}, {len(history.step_loss)} steps run")
    draw(rows, trained, given.out)
    (given.out / "backprop_against_search.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
