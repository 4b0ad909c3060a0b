"""A whole training step: gather, forward, loss, backward, optimizer, log."""

from __future__ import annotations

import pytest

from mlpx.benchmark.contenders.base import modes
from mlpx.benchmark.workloads import WORKLOADS, Task, make_problem
from mlpx.errors import EngineError

ENGINES = [
    kind for kind in modes("mlpx") if "train" in kind.phases() and not kind.mode.endswith(" fit")
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda kind: kind.mode)
@pytest.mark.parametrize("workload", ["mnist", "tabular"])
def test_step(backend, batch_size, dtype, workload, engine, request):
    task = Task(WORKLOADS[workload], batch_size, "train", dtype, backend.device)
    try:
        contender = engine(task, make_problem(task))
    except EngineError as error:
        pytest.skip(str(error))
    contender.reset()
    timed = request.getfixturevalue("timed")  # not before: it must be used once made
    timed(lambda: contender.run(1), rows=batch_size)


@pytest.mark.parametrize("phase", ["forward", "backward", "update"])
def test_phase(timed, backend, batch_size, dtype, phase):
    (engine,) = [kind for kind in ENGINES if kind.mode == "interpreter"]
    task = Task(WORKLOADS["mnist"], batch_size, phase, dtype, backend.device)
    contender = engine(task, make_problem(task))
    contender.reset()
    timed(lambda: contender.run(1), rows=batch_size)
