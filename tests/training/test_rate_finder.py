"""The learning-rate range test."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app
from mlpx.errors import InputError, MissingExtraError
from mlpx.optimizers import SGD
from mlpx.schedules import Constant, Sequential
from mlpx.training.rate_finder import find_learning_rate, read_curve, smooth


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(200, 5))
    return x, (x[:, 0] > 0.2).astype(int)


def test_the_suggestion_trains_well_and_the_model_is_left_alone() -> None:
    x, y = data()
    model = MLP([5, 16, 2])
    model.fit(x, y, optimizer="adam", epochs=1, verbose=0)
    flat, state = model.flat.copy(), model.training_state
    moments = {name: moment.copy() for name, moment in state.moments.items()}
    curve = find_learning_rate(model, x, y, optimizer="sgd", high=100.0)
    assert model.flat.tobytes() == flat.tobytes()
    assert model.training_state is state
    assert (state.step, state.epoch) == (7, 1)
    for name, moment in moments.items():
        assert state.moments[name].tobytes() == moment.tobytes()
    assert 0.01 < curve.suggestion < 10
    fresh = MLP([5, 16, 2])
    history = fresh.fit(x, y, optimizer=SGD(curve.suggestion), epochs=10, verbose=0)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_rates_grow_from_low_to_high() -> None:
    x, y = data()
    curve = find_learning_rate(MLP([5, 2]), x, y, low=1e-4, high=1e-1, steps=31)
    np.testing.assert_allclose(curve.rates, np.logspace(-4, -1, 31), rtol=1e-12)
    assert curve.losses.shape == curve.smoothed.shape == (31,)


def test_it_is_a_training_at_those_rates() -> None:
    x, y = data()
    curve = find_learning_rate(MLP([5, 2]), x, y, optimizer="sgd", low=0.01, high=1.0, steps=12)
    schedule = Sequential(tuple(Constant(float(rate)) for rate in curve.rates), (1,) * 11)
    history = MLP([5, 2]).fit(x, y, optimizer=SGD(schedule), steps=12, verbose=0)
    np.testing.assert_allclose(curve.losses, history.step_loss, rtol=1e-6)


def test_smoothing_and_reading() -> None:
    np.testing.assert_allclose(smooth(np.full(5, 3.0)), 3.0, rtol=1e-14)
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0])), [1.0, (0.09 + 0.2) / 0.19], rtol=1e-12)
    rates = np.logspace(-4, 0, 41)
    fall = 1 / (1 + (rates / 1e-2) ** 2)  # steepest over log(rate) at 1e-2
    losses = np.concatenate([fall[:35], [1e3, np.nan, 1, 1, 1, 1]])
    curve = read_curve(rates, losses)
    assert len(curve.rates) == 35
    assert 1e-2 <= curve.suggestion < 5e-2  # the average lags by some steps
    with pytest.raises(InputError, match=r"the loss is nan at the rate .*lower `low`"):
        read_curve(rates, np.full(41, np.nan))


def test_divergence_is_the_end_of_the_curve_not_of_the_search() -> None:
    x, y = data()
    curve = find_learning_rate(MLP([5, 16, 2]), 100 * x, y, optimizer="sgd", high=1e12)
    assert len(curve.rates) < 100
    assert np.isfinite(curve.smoothed).all()


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x, y = data()
    find_learning_rate(MLP([5, 2]), x, y, steps=20).plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    curve = read_curve(np.array([0.1, 0.2, 0.4]), np.array([3.0, 2.0, 1.0]))
    with pytest.raises(MissingExtraError, match=r"RateCurve\.plot.*mlpx\[plot\]"):
        curve.plot("curve.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, r"low = 0\.0"),
        ({"low": 1.0, "high": 0.5}, r"high = 0\.5; it must be in \(1, inf\)"),
        ({"steps": 1}, "steps = 1"),
        ({"optimizer": "lbfgs"}, "'lbfgs' finds its own step lengths"),
    ],
)
def test_range_checks(options: dict, message: str) -> None:
    x, y = data()
    with pytest.raises(InputError, match=message):
        find_learning_rate(MLP([5, 2]), x, y, **options)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    x, y = data()
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y)
    return ["train", str(tmp_path / "d.npz"), "--find-lr", "--out", str(tmp_path / "o")]


def test_command_line(tmp_path: Path, arguments: list[str]) -> None:
    pytest.importorskip("matplotlib")
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert found.output.startswith("learning rate ")
    assert float(found.output.split()[2]) > 1e-6
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["learning_rate.png"]


def test_command_line_without_matplotlib(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert float(found.stdout.split()[2]) > 1e-6
    *_, last = found.stdout.splitlines()
    assert last.startswith("no picture      ")
    assert "pip install 'mlpx[plot]'" in last
    assert not list((tmp_path / "o").iterdir())
