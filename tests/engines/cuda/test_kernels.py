"""Every kernel of the .cu files against NumPy in float64, run by the simulator (cudasim).

Arrays start at odd offsets, with guard zones around them; threads and blocks run forwards,
backwards and in random order.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import cudasim
import numpy as np
import pytest
from cudasim import mutants
from cudasim.cases import CASES, POSITION, SINGLE, STEP, TABLE, Given
from cudasim.checking import (
    IN_PLACE,
    MANY,
    SHAPES,
    in_place,
    ordered,
    shapes,
)
from cudasim.running import check, run

from mlpx.engines.cuda import launches
from mlpx.engines.cuda.kernels import OPERATION
from mlpx.engines.cuda.launches import SOURCES, launch

pytestmark = pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler")


def test_every_kernel_has_a_case() -> None:
    assert set(CASES) == set(SOURCES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all shapes; for some, the same bits whatever the order of threads and blocks, and if
    one block does all the work.
    """
    if name in SINGLE:
        dtype = "float32"
    for make, shape in product(CASES[name], shapes(name)):
        case = make(Given(dtype, *shape))
        found = check(name, case, dtype)
        if shape not in ordered(name):
            continue
        for schedule in (cudasim.BACKWARD, cudasim.RANDOM):
            with monkeypatch.context() as patch:
                if schedule == cudasim.RANDOM:
                    patch.setattr(launches, "MOST_BLOCKS", 1)
                again = run(name, case, dtype, schedule=schedule, seed=5)
            for first, second in zip(found, again, strict=True):
                np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    for make in CASES[name]:
        for shape in SHAPES:
            check(name, in_place(name, make(Given("float64", *shape))), "float64")


@pytest.mark.parametrize("name", MANY)
def test_many_blocks_add_up_one_sum(name: str) -> None:
    case = CASES[name][0](Given("float64", *MANY[name]))
    assert launch(name, case.n).grid > 100
    found = check(name, case, "float64")
    for seed in (1, 2):
        again = run(name, case, "float64", schedule=cudasim.RANDOM, seed=seed)
        for i in case.wanted:
            np.testing.assert_array_equal(found[i], again[i])


def test_a_sum_after_a_sum_in_the_same_room() -> None:
    """The tickets are reset: `run` checks them after each launch."""
    case = CASES["column_sum"][0](Given("float64", 5000, 3))
    assert launch("column_sum", case.n).grid > 1
    check("column_sum", case, "float64")


def test_large_indices_are_divided_in_64_bits() -> None:
    """row_of and column_of around 32 bits, by gathering one distant row."""
    d, n = 1, 1
    far = 2**32 + 5
    x = np.zeros(8, np.float32)
    table = np.full((TABLE, n), far - 2)
    out = np.zeros((n, d))
    address = x.ctypes.data - (far - 2) * 4 + 12
    x[3] = 7
    given, state = np.zeros(1, OPERATION), np.array([POSITION, STEP])
    given["n"][0, :5] = (n, d, 0, n, 0)
    given["p"][0, :3] = (address % 2**64, table.ctypes.data, out.ctypes.data)
    cudasim.kernel("gather_float64")(1, 256, given.tobytes(), state.ctypes.data, 0)
    assert out[0, 0] == 7


def test_the_operation_is_laid_out_as_the_host_has_it() -> None:
    class Operation(ctypes.Structure):
        _fields_ = (
            ("n", ctypes.c_int64 * 8),
            ("c", ctypes.c_double * 8),
            ("p", ctypes.c_void_p * 12),
        )

    assert OPERATION.itemsize == ctypes.sizeof(Operation)
    for name, _ in Operation._fields_:
        assert OPERATION.fields is not None
        assert OPERATION.fields[name][1] == getattr(Operation, name).offset


def sanitized(source: Path) -> subprocess.CompletedProcess[str]:
    """Every kernel, in a process with AddressSanitizer, at some shapes."""
    env = os.environ | cudasim.sanitizer() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "cudasim.sanitized", str(source)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.slow
def test_address_sanitizer_finds_nothing() -> None:
    done = sanitized(cudasim.ENGINES / "cuda")
    assert done.stdout.split() == ["clean", str(len(SOURCES))], done.stderr[-3000:]


@pytest.mark.slow
def test_address_sanitizer_would_find_a_row_too_many(tmp_path: Path) -> None:
    """And reports the line of the .cu file."""
    source = mutants.copy(tmp_path)
    text = (source / "batches.cu").read_text()
    wanted = "EACH(i, op.n[0] * op.n[1]) array<Real>(op, 1)[i] = array<const Real>(op, 0)[i];"
    line = next(i for i, each in enumerate(text.splitlines(), 1) if wanted in each)
    (source / "batches.cu").write_text(
        text.replace(wanted, wanted.replace("op.n[1])", "op.n[1] + 1)"))
    )
    done = sanitized(source)
    assert "heap-buffer-overflow" in done.stderr
    assert f"batches.cu:{line}" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mutant", mutants.chosen(), ids=str)
def test_a_broken_kernel_is_seen(mutant: mutants.Mutant, tmp_path: Path) -> None:
    assert mutants.caught(mutant, tmp_path), "no test sees it"
