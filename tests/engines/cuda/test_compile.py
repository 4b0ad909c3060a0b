"""Every .cu file compiles for every architecture, within its limits on registers and memory."""

from __future__ import annotations

from pathlib import Path

import nvrtc
import pytest

from mlpx.engines.cuda.kernels import DTYPES, HERE
from mlpx.engines.cuda.launches import FILES, MOST_BLOCKS, launch

REGISTERS = 128
"""Half a multiprocessor's blocks at the least: 65536 / (256 threads x 128) = 2."""
SPILLED_BYTES = 64
"""What the slow paths of divisions and roots put aside, when they are called."""
STACK_BYTES = 96
"""Those, and no arrays."""
SHARED_BYTES = 16 << 10
SIZES = [(1, 1, 1), (100, 784, 50), (100_000, 3, 3), (4096, 4096, 4096), (7, 1_000_000, 2)]


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=[] if name == "sm_90" else pytest.mark.slow)
        for name in nvrtc.ARCHITECTURES
    ],
)
@pytest.mark.parametrize("file", FILES)
def test_compiles_within_bounds(file: str, architecture: str) -> None:
    found = nvrtc.compile_file(HERE / file, architecture)
    assert set(found) == {f"{name}_{dtype}" for name in FILES[file] for dtype in DTYPES}
    over = {name: use for name, use in found.items() if use.registers > REGISTERS}
    assert over == {}
    assert {name: use for name, use in found.items() if use.spilled_bytes > SPILLED_BYTES} == {}
    assert {name: use for name, use in found.items() if use.stack_bytes > STACK_BYTES} == {}
    assert {name: use for name, use in found.items() if use.shared_bytes} == {}


def test_every_file_is_listed() -> None:
    assert {path.name for path in HERE.glob("*.cu")} == set(FILES)


@pytest.mark.parametrize("name", [name for kernels in FILES.values() for name in kernels])
def test_launches_are_what_cuda_takes(name: str) -> None:
    for n in SIZES:
        size = launch(name, n)
        assert 1 <= size.grid < 2**31
        assert size.block == 256
        assert size.shared_bytes <= SHARED_BYTES
    assert launch(name, (10**6, 100, 3)).grid <= max(MOST_BLOCKS, 10**6)


def test_what_does_not_compile_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.cu").write_text('extern "C" __global__ void broken() { nonsense; }\n')
    with pytest.raises(RuntimeError, match="nonsense"):
        nvrtc.compile_file(tmp_path / "broken.cu", "sm_90")
