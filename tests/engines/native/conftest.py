"""Every instruction set of the native library."""

from __future__ import annotations

import pytest

from mlpx.engines.native.library import instruction_sets


@pytest.fixture(params=instruction_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of each that this processor has, from which kernels are taken."""
    monkeypatch.setenv("MLPX_ISA", request.param)
    return str(request.param)
