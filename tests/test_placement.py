"""device="auto": where a model trains, and what it says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP, placement
from mlpx.errors import InputError

pytest_plugins = ["fakecupy.fixtures"]


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers on any machine."""
    speed = placement.CORE._replace(operations=2e5, bytes=2e4)
    monkeypatch.setattr(placement, "cpu_speed", lambda: speed)


def data(n: int = 600, d: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, 3, size=n)


def fit(model: MLP, n: int = 600, **options: Any) -> Any:
    return model.fit(*data(n), epochs=1, verbose=0, **options)


def test_small_steps_stay_on_the_cpu_and_large_ones_go_to_the_gpu(fake_cupy: Any) -> None:
    model = MLP([20, 64, 3], device="auto")
    assert model.device == "cuda:0"
    history = fit(model, batch_size=8)
    assert model.device == "cpu"
    assert history.engine in ("native", "interpreter")
    (note,) = history.notes
    assert note.startswith("device='auto': cpu; a step of 8 rows is estimated at ")
    assert note.endswith(" us on cuda:0")
    history = fit(model, batch_size=600, engine="interpreter")
    assert model.device == "cuda:0"
    assert history.notes[0].startswith("device='auto': cuda:0; a step of 600 rows")


def test_moved_training_goes_on_where_it_was(fake_cupy: Any) -> None:
    """Adam's moments come along."""
    flats = []
    for device in ("auto", "cpu"):
        model = MLP([20, 64, 3], device=device, dtype="float64")
        for batch_size in (8, 600, 8):
            fit(model, batch_size=batch_size, engine="interpreter")
        flats.append(model.backend.to_numpy(model.flat))
    np.testing.assert_allclose(flats[0], flats[1], rtol=1e-9, atol=1e-12)


def test_data_on_a_device_stay_there(fake_cupy: Any) -> None:
    x, y = data(30)
    model = MLP([20, 64, 3], device="auto")
    history = model.fit(fake_cupy.asarray(x), y, epochs=1, batch_size=8, verbose=0)
    assert model.device == "cuda:0"
    assert history.notes == ["device='auto': cuda:0, where x is"]


def test_a_device_that_was_asked_for_is_kept(fake_cupy: Any) -> None:
    model = MLP([20, 64, 3], device="cuda")
    assert fit(model, batch_size=8, engine="interpreter").notes == []
    assert model.device == "cuda:0"
    assert fit(model.to("auto"), batch_size=8).notes
    assert model.device == "cpu"
    assert fit(model.to("cuda"), batch_size=8, engine="interpreter").notes == []
    assert model.device == "cuda:0"


def test_without_cuda_there_is_nothing_to_choose() -> None:
    model = MLP([20, 64, 3], device="auto")
    assert fit(model, batch_size=600).notes == []
    assert model.device == "cpu"


def test_all_rows_of_a_full_batch_count(fake_cupy: Any) -> None:
    history = fit(MLP([20, 64, 3], device="auto"), optimizer="lbfgs")
    assert "a step of 600 rows" in history.notes[0]


@pytest.mark.parametrize("batch_size", ["8", 0, -3, 2.5])
def test_nonsense_is_refused_as_ever(fake_cupy: Any, batch_size: Any) -> None:
    with pytest.raises((InputError, TypeError), match="batch_size"):
        fit(MLP([20, 64, 3], device="auto"), batch_size=batch_size)


def test_estimates_grow_with_rows_and_parameters() -> None:
    small, large = MLP([20, 64, 3]), MLP([784, 512, 3])
    for speed in (placement.CORE, placement.CUDA):
        times = [
            placement.step_us(m, rows, speed)
            for m, rows in ((small, 8), (small, 999), (large, 999))
        ]
        assert times == sorted(times)
    double = MLP([784, 512, 3], dtype="float64")
    assert placement.step_us(double, 9, placement.CUDA) > placement.step_us(
        large, 9, placement.CUDA
    )
