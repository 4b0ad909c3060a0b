"""`model.predict` as a user calls it: host rows in, classes out."""

from __future__ import annotations

import pytest

from mlpx.benchmark.contenders.ours import make_model
from mlpx.benchmark.workloads import WORKLOADS, Task, make_problem


@pytest.mark.parametrize("workload", ["mnist", "tabular"])
def test_predict(timed, backend, batch_size, dtype, workload):
    task = Task(WORKLOADS[workload], batch_size, "predict", dtype, backend.device)
    model, x = make_model(task), make_problem(task).batch[0]
    timed(lambda: model.predict(x, batch_size=batch_size), rows=batch_size)
