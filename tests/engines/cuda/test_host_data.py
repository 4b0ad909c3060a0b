"""Data that does not fit on the device: each step fetches its rows from host memory."""

from __future__ import annotations

import gc
from typing import Any

import cudasim
import numpy as np
import pytest
from cuda_training import images, network
from fakecupy.modules import RawKernel
from fakecupy.state import CUDARuntimeError

from mlpx import Optimizer
from mlpx.errors import DeviceMemoryError

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]


@pytest.mark.parametrize(("n", "dtype"), [(1400, "u1"), (700, ">u2")])
@pytest.mark.parametrize("engine", ["interpreter", "cuda"])
def test_data_that_does_not_fit_stays_in_host_memory(
    fake_cupy: Any, engine: str, n: int, dtype: str
) -> None:
    """With the same losses, and a note."""
    x, y = images(n=n)
    x = x.astype(dtype)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "engine": engine, "verbose": 0}
    resident = network().fit(x, y, **options)
    model = network()
    fake_cupy.machine.free_bytes = 67_000
    history = model.fit(x, y, **options)
    assert history.notes == [
        "x does not fit on cuda:0: it stays in host memory, and each step fetches its rows"
    ]
    assert resident.notes == []
    np.testing.assert_array_equal(history.step_loss, resident.step_loss)


def test_data_in_host_memory_takes_what_it_needs(fake_cupy: Any) -> None:
    """Not rounded up to a power of two, and only as long as it is used."""
    backend = network().backend
    x = np.arange(3 * 1000, dtype=np.float32).reshape(1000, 3)
    gc.collect()  # what earlier tests have left
    fake_cupy.machine.free_bytes, fake_cupy.machine.pinned_bytes = 100, 0
    array, resident = backend.asarray_in_reach(x)
    assert not resident
    assert fake_cupy.machine.pinned_bytes == x.nbytes
    part = array[10:]
    del array
    gc.collect()
    assert fake_cupy.machine.pinned_bytes == x.nbytes
    np.testing.assert_array_equal(backend.to_numpy(part), x[10:])
    del part
    gc.collect()
    assert fake_cupy.machine.pinned_bytes == 0


def host_data(fake_cupy: Any, **options: Any) -> Any:
    """A fit on more data than the device has room for."""
    x, y = images(n=1400)
    model = network()
    given: dict[str, Any] = {"epochs": 2, "batch_size": 16, "verbose": 0} | options
    fake_cupy.machine.free_bytes = 67_000
    history = model.fit(x, y, **given)
    fake_cupy.machine.free_bytes = 2**30
    return history


def test_rows_that_were_brought_are_not_brought_again(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If steps are slow, each is a call of the engine, and its rows have already been fetched."""
    launched: list[str] = []
    launch = RawKernel.__call__

    def counted(self: RawKernel, *args: Any, **keywords: Any) -> None:
        launched.append(self.name)
        launch(self, *args, **keywords)

    monkeypatch.setattr(RawKernel, "__call__", counted)
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)
    x, y = images(n=230)
    fake_cupy.machine.free_bytes = 67_000
    history = network().fit(
        x.astype(np.float64), y, epochs=3, batch_size=16, engine="cuda", verbose=0
    )
    assert any("host memory" in note for note in history.notes)
    # Of x: once an epoch, and in the step that is launched and the one that is captured; and those
    # of the last, smaller batches. Labels: in the launched and the captured step of each plan.
    assert launched.count("gather_float32") == 3 + 2 + 2 + 2 * 2


def test_host_memory_that_cannot_be_pinned_is_a_memory_error(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's pool is emptied first."""
    tried: list[int] = []

    def refused(nbytes: int) -> Any:
        tried.append(nbytes)
        raise CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(fake_cupy.cuda, "PinnedMemory", refused)
    with pytest.raises(DeviceMemoryError, match="nor into pinned host memory: cudaErrorMemory"):
        host_data(fake_cupy)
    assert len(tried) == 2


def test_the_next_rows_come_while_a_step_computes(fake_cupy: Any, runner: list[Any]) -> None:
    """On a branch of the graph parallel to the products; a step copies the rows fetched for it."""
    host_data(fake_cupy)
    (made,) = runner
    operations = [operation for operation, _ in made.replayer.launches[id(made.program.full)]]
    names = [operation.name for operation in operations]
    start = names.index("copy")
    assert names[start + 1] == "gather"
    assert operations[start + 1].late
    graph = next(graph for (_, steps), graph in made.replayer.graphs.items() if steps == 1)
    ends = {node for other in graph.nodes for node in other.after}
    (joined,) = [node for node in graph.nodes if node not in ends]
    copied, brought = graph.nodes[start], graph.nodes[start + 1]
    product = graph.nodes[names.index("affine") + 0]
    assert brought.follows(copied)
    assert not product.follows(brought)
    assert joined.follows(brought) or joined is brought


@pytest.mark.parametrize("steps", [3, 13, 23, pytest.param(50, marks=pytest.mark.slow)])
def test_prefetched_rows_are_the_steps_own(fake_cupy: Any, steps: int) -> None:
    """Wherever a run stops, even in the ragged batch, and when another run continues."""
    x, y = images(n=1401)
    options: dict[str, Any] = {"batch_size": 64, "verbose": 0, "steps": steps}
    losses = []
    for free_bytes in (2**30, 67_000):
        model = network()
        fake_cupy.machine.free_bytes = free_bytes
        first = model.fit(x, y, **options).step_loss
        fake_cupy.machine.free_bytes = free_bytes
        losses.append(np.concatenate([first, model.fit(x, y, **options).step_loss]))
    np.testing.assert_array_equal(*losses)


def test_parts_of_a_batch_are_fetched_as_they_come(fake_cupy: Any, runner: list[Any]) -> None:
    host_data(fake_cupy, optimizer=Optimizer.table["adam"](accumulate=2))
    assert not any(runner[0].first_rows.values())
