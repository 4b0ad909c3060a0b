"""Devices, dtypes and batch sizes of the pytest-benchmark suites."""

from __future__ import annotations

from typing import Any

import pytest

from mlpx.backend import BACKENDS, get_backend
from mlpx.backend.base import Backend
from mlpx.errors import DeviceError


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each kind of device; one that is absent is skipped by name."""
    try:
        return get_backend(request.param)
    except DeviceError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[1, 32, 512, 8192])
def batch_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def timed(backend: Backend, benchmark: Any) -> Any:
    """Benchmarks a function of no arguments; the device is waited for inside the clock."""

    def run(function: Any, *, rows: int) -> None:
        def synchronized() -> None:
            function()
            backend.synchronize()

        synchronized()
        benchmark.extra_info["device"] = backend.device
        benchmark.extra_info["rows"] = rows
        benchmark(synchronized)

    return run
