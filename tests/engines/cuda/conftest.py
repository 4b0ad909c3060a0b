"""Fixtures of the CUDA engine's tests."""

from __future__ import annotations

from typing import Any

import pytest

from mlpx.engines.cuda.runner import CudaRunner


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runners made, in order."""
    made: list[Any] = []
    planned = CudaRunner.__init__

    def keep(self: CudaRunner, *given: Any) -> None:
        planned(self, *given)
        made.append(self)

    monkeypatch.setattr(CudaRunner, "__init__", keep)
    return made
