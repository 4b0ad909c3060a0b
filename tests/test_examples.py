"""Every example runs, writes its picture, and what it claims holds."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from mlpx.optimizers import Optimizer

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = [
    path.stem
    for path in sorted(EXAMPLES.glob("[!_]*.py"))
    # tests/test_mnist.py and tests/test_examples_estimators.py have the others
    if not path.stem.startswith(("mnist_sgd", "mnist_adam", "adult", "device"))
]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports an example as its folder's Python would."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "xor_and_spirals" else pytest.mark.slow)
        for name in PICTURES
    ],
)
def test_an_example_runs_and_writes_its_picture(
    name: str, example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # No data folder: the MNIST walk falls back on the small digits.
    monkeypatch.setenv("MLPX_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--quick", "--out", str(tmp_path / "out")])
    example(name).main()
    path = tmp_path / "out" / f"{name}.png"
    assert f"picture: {path}" in capsys.readouterr().out
    picture = imread(path)
    assert picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def test_there_are_seven() -> None:
    assert len(PICTURES) == 7


def test_only_momentum_and_chance_leave_the_nearest_minimum(example: Any) -> None:
    creeping, settled, restless, rolled = example("gradient_descent").paths(120).values()
    local, lowest = 0.960, -1.036
    assert creeping[-1] > local + 0.1
    assert np.all(np.diff(creeping) < 0)
    assert settled[-1] == pytest.approx(local, abs=1e-3)
    assert np.abs(np.diff(restless[-20:])).min() > 0.1
    assert rolled[-1] == pytest.approx(lowest, abs=5e-3)
    assert rolled.max() == rolled[0]


def test_every_optimizer_leaves_the_saddle_and_plain_descent_late(example: Any) -> None:
    saddle = example("saddle")
    found = saddle.paths(150)
    stepwise = {
        name for name, kind in Optimizer.table.items() if not getattr(kind, "full_batch", False)
    }
    assert set(found) == stepwise
    steps = {name: saddle.escaped(path) for name, path in found.items()}
    assert None not in steps.values(), steps
    assert steps["sgd"] > 3 * steps["adam"]
    for name, path in found.items():
        assert saddle.f(*path[-1]) < -0.1, name


def test_the_driver_is_the_optimizer(example: Any) -> None:
    """A path by hand: gradient descent on x**2 / 2 shrinks x by 1 - rate a step."""
    path = example("_descent").descend(Optimizer.resolve("sgd"), lambda p: p, [1.0, -2.0], steps=4)
    np.testing.assert_allclose(path, np.outer(0.9 ** np.arange(5), [1.0, -2.0]), rtol=1e-14)


def test_the_gradient_vanishes_under_sigmoid_and_not_under_relu(example: Any) -> None:
    vanishing = example("vanishing_gradient")
    ratios, losses = {}, {}
    for name in ("sigmoid", "relu"):
        history = vanishing.train(name, epochs=3)
        norms = vanishing.weight_norms(history)
        assert norms.shape == (len(history.step_loss), vanishing.DEPTH + 1)
        ratios[name] = norms[0, 0] / norms[0, -1]
        losses[name] = history["loss"][-1] / history["loss"][0]
    assert ratios["sigmoid"] < 1e-4
    assert 0.1 < ratios["relu"] < 10
    assert losses["sigmoid"] > 0.95
    assert losses["relu"] < 0.8


def test_every_fault_is_caught_where_it_is(example: Any) -> None:
    faults = example("gradient_faults")
    caught = {
        fault: [row.name for row in faults.check(fault).rows if not row.passed]
        for fault in faults.FAULTS
    }
    assert caught == {
        "no fault": [],
        "W -= lr * W": ["0.W", "1.W"],
        "db too early": ["0.b"],
        "sigmoid'(y)": ["0.W", "0.b"],
        "no 1/n": ["0.W"],
        "dx with new W": ["0.W", "0.b"],
        "square's 2": ["0.W", "0.b", "1.W", "1.b"],
        "db of one row": ["0.b"],
    }
    learnt = [faults.losses(fault, 60)[-1] < 0.45 for fault in faults.FAULTS]
    assert sum(learnt) == len(learnt) - 1  # all but W -= lr * W


def test_the_walk_by_hand_is_the_gradient(example: Any, data_dir: Path) -> None:
    """Its backward pass against differences of its own forward pass."""
    walk = example("mnist_by_hand")
    data = walk.load(data_dir)
    assert data.name == "mnist"
    net = walk.Net(784)
    x = (data.x_train[: walk.BATCH] * data.scale).astype(np.float32)
    t = np.eye(10, dtype=np.float32)[data.y_train[: walk.BATCH]]
    net.backward(x, t)
    rng = np.random.default_rng(0)
    for p, g in ((net.W1, net.dW1), (net.b1, net.db1), (net.W2, net.dW2), (net.b2, net.db2)):
        v = rng.normal(size=p.shape).astype(np.float32)
        v /= np.linalg.norm(v)
        slope, before, gradient = [], p.copy(), g.copy()
        for h in (0.05, -0.05):
            p[...] = before + h * v
            slope.append(net.backward(x, t))
        p[...] = before
        assert (slope[0] - slope[1]) / 0.1 == pytest.approx(
            float(np.vdot(gradient, v)), rel=0.02, abs=2e-4
        )


def test_the_walk_by_hand_learns_mnist(example: Any, data_dir: Path) -> None:
    walk = example("mnist_by_hand")
    _, losses, accuracies = walk.train(walk.load(data_dir), steps=300)
    assert accuracies[-1] > 0.88
    assert np.mean(losses[-20:]) < 0.5
    assert len(accuracies) == 20


def test_xor_needs_a_hidden_layer(example: Any) -> None:
    example = example("xor_and_spirals")
    assert example.accuracy(example.learn_xor(4), example.xor()) == 1.0
    assert example.accuracy(example.learn_xor(None), example.xor()) <= 0.75


def test_spirals_are_learnt_and_not_only_by_heart(example: Any) -> None:
    example = example("xor_and_spirals")
    model = example.MLP([2, 48, 48, 2], activation="relu", seed=0)
    example.learn_spirals(model, 40)
    assert example.accuracy(model, example.spirals(seed=1)) > 0.95


def test_what_backpropagation_buys(example: Any, tmp_path: Path) -> None:
    """The ratio of the loop grows with the parameters; backpropagation's price hardly does."""
    benchmark = example("backprop_against_search")
    small, large = benchmark.measure((2, 32), budget_s=0.02)
    assert (small["parameters"], large["parameters"]) == (28, 418)
    loop = [row["numerical, loop"] / row["backpropagation"] for row in (small, large)]
    assert loop[0] > 10
    assert loop[1] > 4 * loop[0]
    assert large["backpropagation"] < 5 * small["backpropagation"]
    assert large["numerical, rank one"] < large["numerical, loop"] / 3
    table = benchmark.markdown([small, large]).splitlines()
    assert len(table) == 4
    assert "(1.0x)" in table[2]
    assert json.loads(json.dumps(small)) == small
