"""The engines that are compared with the interpreter."""

from __future__ import annotations

import cudasim
import pytest

from mlpx.engines import NativeEngine
from mlpx.engines.native.library import instruction_sets

OTHER_SETS = [f"native on {isa}" for isa in instruction_sets()[1:]]


@pytest.fixture(params=["native", *OTHER_SETS, "cuda"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of each compiled engine that can run here: the native one for every instruction set
    of this processor; CUDA's kernels run in the simulator.
    """
    name, _, isa = str(request.param).partition(" on ")
    if name == "cuda":
        if cudasim.compiler() is None:
            pytest.skip("no C++ compiler")
        request.getfixturevalue("fake_cupy")
    elif (missing := NativeEngine().missing()) is not None:
        pytest.skip(missing)
    if isa:
        monkeypatch.setenv("MLPX_ISA", isa)
    return name
