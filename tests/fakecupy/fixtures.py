"""``fake_cupy``: the fake in place of CuPy for one test; ``cuda_kernels`` gives it all kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fakecupy
from fakecupy import modules


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The fake cupy module, installed, with its counters at zero and one device."""
    monkeypatch.delenv("MLPX_DEVICE", raising=False)
    with fakecupy.installed() as cupy:
        yield cupy


@pytest.fixture
def cuda_kernels(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for every operation of the native library, unless the simulator has the real ones."""
    if modules.SIMULATED:
        return
    from mlpx.engines.cuda import kernels

    monkeypatch.setattr(kernels, "SOURCES", Everything())
    monkeypatch.setattr(kernels, "compiled", lambda backend, source: modules.RawModule(""))


class Everything(dict[str, str]):
    """Operation -> file, for all that the native library has."""

    def __contains__(self, name: object) -> bool:
        from mlpx.engines.native.library import load

        library = load()
        kernel = f"{name}.float32".encode()
        return name in ("advance", "to_bf16") or (
            library is not None and bool(library.mlpx_kernel(kernel))
        )

    def __missing__(self, name: str) -> str:
        return "kernels.cu"
