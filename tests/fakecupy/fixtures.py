"""``fake_cupy``: the fake in place of CuPy for one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fakecupy


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The fake cupy module, installed, with its counters at zero and one device."""
    monkeypatch.delenv("MLPX_DEVICE", raising=False)
    with fakecupy.installed() as cupy:
        yield cupy
