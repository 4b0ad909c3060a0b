"""A whole training step: gather, forward, loss, backward, optimizer, log."""

from __future__ import annotations

import pytest

from mlpx.benchmark.contender import modes
from mlpx.benchmark.workloads import WORKLOADS, Task, make_problem

ENGINES = [kind for kind in modes("mlpx") if not kind.mode.endswith(" fit")]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda kind: kind.mode)
@pytest.mark.parametrize("workload", ["mnist", "tabular"])
def test_step(timed, backend, batch_size, dtype, workload, engine):
    task = Task(WORKLOADS[workload], batch_size, "train", dtype, backend.device)
    contender = engine(task, make_problem(task))
    contender.reset()
    timed(lambda: contender.run(1), rows=batch_size)


@pytest.mark.parametrize("phase", ["forward", "backward", "update"])
def test_phase(timed, backend, batch_size, dtype, phase):
    (engine,) = [kind for kind in ENGINES if kind.mode == "interpreter"]
    task = Task(WORKLOADS["mnist"], batch_size, phase, dtype, backend.device)
    contender = engine(task, make_problem(task))
    contender.reset()
    timed(lambda: contender.run(1), rows=batch_size)
