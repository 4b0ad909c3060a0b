"""device="auto": where a model trains, and the note about it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlpx import MLP
from mlpx.engines import placement
from mlpx.engines.placement import cpu_speed
from mlpx.errors import InputError


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the answers the same on any machine."""
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


FREE = placement.Speed(kernel_us=0.0, operations=math.inf, bytes=math.inf)


@pytest.mark.parametrize(("dtype", "singles"), [("float32", 1), ("float64", 2)])
def test_a_step_takes_its_kernels_its_products_and_its_memory(dtype: str, singles: int) -> None:
    model, rows = MLP([20, 64, 3], dtype=dtype), 8
    kernels = placement.KERNELS + 3 * placement.KERNELS_BY_LAYER
    products = 6 * rows * model.parameter_count
    numbers = 6 * model.parameter_count + 4 * rows * (20 + 64 + 3)
    for cost, us in (
        ({"kernel_us": 2.0}, 2 * kernels),
        ({"operations": 0.5}, 2 * singles * products),
        ({"bytes": 0.5}, 2 * 4 * singles * numbers),
        (
            {"kernel_us": 1.0, "operations": 1.0, "bytes": 1.0},
            kernels + singles * (products + 4 * numbers),
        ),
    ):
        assert placement.step_us(model, rows, FREE._replace(**cost)) == us


def test_a_tie_is_the_cpus(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "cpu_speed", lambda: placement.CUDA)
    model = MLP([20, 64, 3], device="auto")
    assert placement.place(model, data()[0], 8)
    assert model.device == "cpu"


@pytest.mark.parametrize(("missing", "kernel_us"), [(None, 0.3), ("not built", 3.0)])
def test_a_cpu_is_its_cores(
    missing: str | None, kernel_us: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without the native library each kernel costs a call from Python."""
    monkeypatch.setattr(placement, "usable_cores", lambda: 3)
    monkeypatch.setattr(placement.NativeEngine, "missing", lambda _: missing)
    core = placement.CORE
    assert cpu_speed() == (kernel_us, 3 * core.operations, 3 * core.bytes)
