"""A profile times every part of a step, and leaves the model as it is."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Optimizer
from mlpx.engines import profile as profiling
from mlpx.engines.cuda import CudaEngine
from mlpx.engines.native.library import load
from mlpx.errors import EngineError, InputError

pytestmark = pytest.mark.xdist_group("alone")

X = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
Y = np.arange(50) % 3


def test_parts_of_the_interpreters_step() -> None:
    model = MLP([6, 5, 3])
    before = model.flat.copy()
    found = model.profile(X, Y, batch_size=8, steps=3)
    assert (found.engine, found.device, found.batch_size) == ("interpreter", "cpu", 8)
    names = [part.name for part in found.parts]
    assert names.count("affine.forward") == names.count("affine.backward") == 2
    assert {"relu.forward", "relu.backward", "adam.update", "batches.gather"} <= set(names)
    assert all(part.us > 0 for part in found.parts)
    assert found.step_us == pytest.approx(sum(part.us for part in found.parts))
    table = str(found).splitlines()
    assert table[0] == "interpreter on cpu, batches of 8"
    assert len(table) == len(names) + 2
    assert "affine.forward" in str(found)
    assert np.array_equal(model.flat, before)
    assert model.training_state is None


@pytest.mark.usefixtures("fake_cupy")
def test_parts_of_the_cuda_engines_step(fake_cupy: Any) -> None:
    """With events; each part is an NVTX range if requested."""
    if load() is None:
        pytest.skip("the native library was not built")
    model = MLP([6, 5, 3], device="cuda")
    found = model.profile(X, Y, batch_size=8, steps=2, nvtx=True)
    names = [part.name for part in found.parts]
    assert found.engine == "cuda"
    assert {"affine 8x6x5", "affine_dW 8x5x3", "gather 8x6x0"} <= set(names)
    assert names[0] == "advance"
    assert fake_cupy.cuda.nvtx.ranges == 3 * names
    assert fake_cupy.cuda.nvtx.open == []
    fake_cupy.cuda.nvtx.ranges.clear()
    assert len(model.profile(X, Y, batch_size=8, steps=2).parts) == len(names)
    assert fake_cupy.cuda.nvtx.ranges == []


def test_what_cannot_be_profiled_is_refused() -> None:
    if load() is None:
        pytest.skip("the native library was not built")
    with pytest.raises(EngineError, match="engine='native' runs a step as one"):
        MLP([6, 5, 3]).profile(X, Y, engine="native")
    with pytest.raises(InputError, match="steps"):
        MLP([6, 5, 3]).profile(X, Y, steps=0)
    with pytest.raises(InputError, match="x has 6 columns"):
        MLP([7, 5, 3]).profile(X, Y)


def test_what_no_engine_runs_in_parts_is_refused() -> None:
    with pytest.raises(EngineError, match="no engine runs this in parts"):
        MLP([6, 5, 3]).profile(X, Y, precision="tf32")


@pytest.mark.usefixtures("fake_cupy", "only_new_garbage")
def test_parts_keep_what_they_work_in() -> None:
    """The parts keep the runner alive, and nothing else does."""
    if load() is None:
        pytest.skip("the native library was not built")
    model = MLP([6, 5, 3], device="cuda")
    program = profiling._program(model, X, Y, 8, Optimizer.resolve("sgd"), "float32")
    made = [CudaEngine().prepare(program)]
    runner = weakref.ref(made[0])
    parts = CudaEngine().parts(program, made.pop())
    gc.collect()
    assert runner() is not None
    del parts
    gc.collect()
    assert runner() is None
