"""Which instruction set the kernels are taken from, and that each has all of them.

That each computes what the interpreter does is in test_tables.py, beside the other engines.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from mlpx import MLP
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native import NativeEngine
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.library import instruction_set, instruction_sets, load
from mlpx.errors import EngineError

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
CPUINFO = Path("/proc/cpuinfo")


def test_they_are_those_of_the_processor() -> None:
    """As the system knows it; one that any processor has comes last."""
    if platform.machine() == "x86_64" and CPUINFO.exists():
        line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
        flags = set(line.split())
        wide = {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags
        wanted = ["avx512"] * wide + ["avx2"] * ({"avx2", "fma"} <= flags)
        assert instruction_sets() == (*wanted, "plain")
    else:
        assert instruction_sets()[-1] in ("plain", "neon")


def test_each_has_every_kernel_in_a_version_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    library = load()
    assert library is not None
    for dtype in (np.dtype("float32"), np.dtype("float64")):
        found = {}
        for isa in instruction_sets():
            monkeypatch.setenv("MLPX_ISA", isa)
            found[isa] = {name for name in FIELDS if NativeTarget().has(name, dtype)}
        assert "affine" in found["plain" if "plain" in found else "neon"]
        assert all(names == found[instruction_set()] for names in found.values())
        kernel = f"affine.{dtype.name}".encode()
        places = {library.mlpx_kernel(isa.encode(), kernel) for isa in instruction_sets()}
        assert len(places) == len(instruction_sets())
    assert library.mlpx_kernel(b"mmx", b"affine.float32") is None
    assert library.mlpx_kernel(instruction_sets()[0].encode(), b"affine.float16") is None


def test_the_best_is_taken_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPX_ISA", raising=False)
    assert instruction_set() == instruction_sets()[0]
    monkeypatch.setenv("MLPX_ISA", "")
    assert instruction_set() == instruction_sets()[0]
    for isa in instruction_sets():
        for given in (isa, isa.upper()):
            monkeypatch.setenv("MLPX_ISA", given)
            assert instruction_set() == isa
            assert NativeEngine().describe().startswith(f"{isa}, ")


@pytest.mark.parametrize("engine", ["native", "auto"])
def test_one_that_the_processor_has_not_got_is_refused(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those that it has; nothing runs on another one in silence."""
    monkeypatch.setenv("MLPX_ISA", "avx10")
    known = ", ".join(instruction_sets())
    with pytest.raises(EngineError, match=f"MLPX_ISA = 'avx10'; this processor has {known}: "):
        MLP([7, 3]).fit(np.ones((9, 7)), np.arange(9) % 3, engine=engine, verbose=0)
    with pytest.raises(EngineError, match="MLPX_ISA = 'avx10'"):
        MLP([7, 3]).predict(np.ones((9, 7)))
