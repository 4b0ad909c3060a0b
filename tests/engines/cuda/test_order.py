"""The next epoch's order is drawn while the device works; nothing depends on the moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Callback, MLPClassifier
from mlpx.training.epoch_log import DeviceReader
from mlpx.training.sampling import SAMPLINGS

pytestmark = pytest.mark.usefixtures("fake_cupy")


def data(n: int = 22) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 2, size=n)


def network(device: str = "cuda") -> MLP:
    return MLP([3, 2, 2], device=device, seed=4)


def fit(model: MLP, **options: Any) -> np.ndarray:
    given = {"batch_size": 4, "verbose": 0, "engine": "interpreter"} | options
    losses: np.ndarray = model.fit(*data(), **given).step_loss
    return losses


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The epochs whose order was drawn, in order, and None each time the host read results."""
    found: list[Any] = []
    read = DeviceReader.read

    def noted(sampling: Any) -> Any:
        def draw(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
            found.append(epoch)
            order: np.ndarray = sampling(seed, epoch, n, rows)
            return order

        return draw

    def waited(self: DeviceReader, *arrays: Any) -> list[np.ndarray]:
        found.append(None)
        return read(self, *arrays)

    for name, sampling in SAMPLINGS.items():
        monkeypatch.setitem(SAMPLINGS, name, noted(sampling))
    monkeypatch.setattr(DeviceReader, "read", waited)
    return found


@pytest.mark.parametrize("sampling", ["shuffle", "whole_batches", "with_replacement"])
@pytest.mark.parametrize(
    ("device", "wanted"),
    [("cuda", [0, 1, None, 2, None, None]), ("cpu", [0, None, 1, None, 2, None])],
)
def test_it_is_drawn_before_the_host_waits(
    happened: list[Any], device: str, sampling: str, wanted: list[Any]
) -> None:
    """On a device; each order is drawn once, and none after the last epoch."""
    fit(network(device), epochs=3, sampling=sampling)
    assert happened == wanted


class Stop(Callback):
    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        run.stop("enough")


def test_what_comes_later_does_not_know(happened: list[Any], tmp_path: Path) -> None:
    """Stopped within or after an epoch, or saved: it continues as if nothing had been drawn."""
    whole = fit(network(), epochs=4)
    model = network()
    happened.clear()
    first = fit(model, epochs=4, callbacks=[Stop()])
    assert happened == [0, 1, None]
    model.save(tmp_path / "model.safetensors")
    loaded = MLP.load(tmp_path / "model.safetensors", device="cuda")
    for other in (model, loaded):
        happened.clear()
        parts = [first, fit(other, steps=8), fit(other, epochs=2)]
        assert happened == [1, 2, None, None, 2, 3, None, None]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_another_seed_is_another_order(happened: list[Any]) -> None:
    """Whenever the seed was set."""

    class Reseed(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            run.model.seed = 5

    fit(network(), epochs=2, callbacks=[Reseed()])
    assert happened == [0, 1, None, 1, None]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_estimators_draw_theirs_in_turn(happened: list[Any]) -> None:
    """From a random state that advances: as on the CPU, where nothing is drawn ahead."""
    x, y = data(40)
    options: dict[str, Any] = {"max_iter": 3, "random_state": 1, "tol": 0.0}
    on_cuda, on_cpu = (
        MLPClassifier((4,), **options, device=device).fit(x, y).loss_curve_
        for device in ("cuda", "cpu")
    )
    assert [epoch for epoch in happened if epoch is not None] == []
    assert on_cuda == pytest.approx(on_cpu, rel=1e-6)
