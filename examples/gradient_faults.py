"""The faults of tutorials in backpropagation, each caught by the gradient check.

A net 4-6-3 is trained by hand, as in the tutorials. What a step subtracts, divided by the learning
rate, should be the gradient. Each faulty version is compared with numerical gradients of the same
net, parameter by parameter. Most faulty versions learn all the same, so nobody notices.

    python examples/gradient_faults.py [--out runs/examples]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _drawing import COLOURS, GREY, INK, arguments, panels, save
from matplotlib.colors import ListedColormap

from mlpx import MLP, Dense
from mlpx.gradcheck import Report, compare_gradients, numerical_gradient

Parameters = dict[str, np.ndarray]
NONE = "no fault"
FAULTS = {
    NONE: "what a step subtracts is the rate times the gradient",
    "W -= lr * W": "the weights themselves are subtracted, not their gradient",
    "db too early": "db of the hidden layer before the activation's derivative",
    "sigmoid'(y)": "the derivative formula y (1 - y) fed with sigmoid(y)",
    "no 1/n": "the hidden layer's dW summed over the batch, not averaged",
    "dx with new W": "the output weights are updated before dx is computed from them",
    "square's 2": "the error doubled, as for a squared loss: softmax's has no 2",
    "db of one row": "db from the first row of the batch only",
}


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def step(p: Parameters, x: np.ndarray, t: np.ndarray, rate: float, fault: str) -> Parameters:
    """The parameters after one step of gradient descent, with the fault of that name."""
    n = len(x)
    y = sigmoid(x @ p["0.W"] + p["0.b"])
    out = softmax(y @ p["1.W"] + p["1.b"])

    dz = (out - t) / n
    if fault == "square's 2":
        dz = 2 * dz
    dW1, db1 = y.T @ dz, dz.sum(axis=0)
    W1 = p["1.W"] - rate * dW1 if fault == "dx with new W" else p["1.W"]
    dy = dz @ W1.T
    s = sigmoid(y) if fault == "sigmoid'(y)" else y
    dz = dy * s * (1 - s)
    dW0, db0 = x.T @ dz, dz.sum(axis=0)
    if fault == "db too early":
        db0 = dy.sum(axis=0)
    if fault == "db of one row":
        db0 = dz[0] * n
    if fault == "no 1/n":
        dW0 = n * dW0

    new = {
        "0.W": p["0.W"] - rate * dW0, "0.b": p["0.b"] - rate * db0,
        "1.W": p["1.W"] - rate * dW1, "1.b": p["1.b"] - rate * db1,
    }  # fmt: skip
    if fault == "W -= lr * W":
        new["0.W"], new["1.W"] = (p[name] - rate * p[name] for name in ("0.W", "1.W"))
    return new


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Three clouds in four dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    return rng.normal(scale=2, size=(3, 4))[labels] + rng.normal(size=(60, 4)), labels


def net() -> MLP:
    return MLP([4, Dense(6, activation="sigmoid"), 3], dtype="float64", seed=2)


def check(fault: str, rate: float = 0.5) -> Report:
    """What one step subtracts, divided by the rate, against the numerical gradient."""
    x, labels = problem()
    model = net()
    before = model.parameters
    after = step(before, x, np.eye(3)[labels], rate, fault)
    implied = {name: (before[name] - after[name]) / rate for name in before}
    return compare_gradients(implied, numerical_gradient(model, x, labels))


def losses(fault: str, steps: int) -> np.ndarray:
    """The loss after each step of training with the fault."""
    x, labels = problem()
    model = net()
    p = {name: value.copy() for name, value in model.parameters.items()}
    means = []
    for _ in range(steps):
        p = step(p, x, np.eye(3)[labels], 0.5, fault)
        out = softmax(sigmoid(x @ p["0.W"] + p["0.b"]) @ p["1.W"] + p["1.b"])
        means.append(-np.log(out[np.arange(len(x)), labels]).mean())
    return np.array(means)


def draw(reports: dict[str, Report], steps: int, out: Path) -> Path:
    figure, (table, curves) = panels(1, 2, (14, 5.2), width_ratios=(1.35, 1))
    names = [row.name for row in next(iter(reports.values())).rows]
    passed = np.array([[row.passed for row in report.rows] for report in reports.values()])
    table.imshow(passed, cmap=ListedColormap(["#f2c4c0", "#d3e8d8"]), aspect="auto", vmin=0, vmax=1)
    for i, report in enumerate(reports.values()):
        for j, row in enumerate(report.rows):
            error = f"{row.error:.1f}" if row.error > 0.05 else f"{row.error:.0e}"
            table.text(j, i, error, ha="center", va="center", fontsize=9)
    table.set_xticks(range(len(names)), [f"d{name}" for name in names])
    table.set_yticks(
        range(len(reports)), [f"{fault}\n{FAULTS[fault]}" for fault in reports], fontsize=9
    )
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    table.set_title("Error against the numerical gradient")
    for fault, colour in zip(reports, (GREY, *COLOURS), strict=False):
        look = {"color": INK, "linewidth": 3} if fault == NONE else {"color": colour}
        curves.plot(losses(fault, steps), label=fault, **look)
    curves.set(title="Loss in training: most learn anyway", xlabel="step", ylim=(0, None))
    curves.legend(loc="upper right", bbox_to_anchor=(1, 0.94))  # below the highest line
    return save(figure, out, "gradient_faults")


def main() -> None:
    given = arguments(__doc__)
    reports = {fault: check(fault) for fault in FAULTS}
    for fault, report in reports.items():
        wrong = ", ".join(f"d{row.name}" for row in report.rows if not row.passed)
        print(f"{fault:<14} {f'CAUGHT in {wrong}' if wrong else 'passes'}")
    print(f"\nThe report on 'db too early':\n{reports['db too early']}")
    draw(reports, 60 if given.quick else 300, given.out)


if __name__ == "__main__":
    main()
