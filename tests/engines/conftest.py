"""The engines that are compared with the interpreter."""

from __future__ import annotations

import cudasim
import pytest

from mlpx.engines import NativeEngine


@pytest.fixture(params=["native", "cuda"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of each compiled engine that can run here; CUDA's kernels run in the simulator."""
    if request.param == "cuda":
        if cudasim.compiler() is None:
            pytest.skip("no C++ compiler")
        request.getfixturevalue("fake_cupy")
    elif (missing := NativeEngine().missing()) is not None:
        pytest.skip(missing)
    return str(request.param)
