"""``fake_cupy``: the fake in place of CuPy for one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fakecupy


@pytest.fixture
def fake_cupy() -> Iterator[Any]:
    """The fake cupy module, installed, with its counters at zero and one device."""
    # Not by the test's own monkeypatch: it would put back last what the test changed in the fake.
    with pytest.MonkeyPatch.context() as patch, fakecupy.installed() as cupy:
        patch.delenv("MLPX_DEVICE", raising=False)
        yield cupy
