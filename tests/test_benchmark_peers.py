"""Every mode of every library that is installed computes what the reference does, in its own
process.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.benchmark.check import Judge
from mlpx.benchmark.contender import PEERS, modes
from mlpx.benchmark.processes import Process, device_environment
from mlpx.benchmark.workloads import Task, Workload, make_problem

NETS = (
    Workload("r", (6, 8, 5, 3), "relu", "adam", 1e-3),
    Workload("s", (6, 8, 2), "sigmoid", "sgd", 0.1),
)
INSTALLED = [
    kind
    for library in PEERS
    for kind in modes(library)
    if "cpu" in kind.devices
    and "not installed" not in (kind.refuses(Task(NETS[0], 16, kind.phases()[0])) or "")
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", INSTALLED, ids=lambda kind: kind.name())
def test_peer_agrees_with_the_reference(kind, tmp_path):
    file = tmp_path / "outcome.npz"
    environment = {**device_environment("cpu"), **kind.environment}
    with Process(kind.name(), threads=1, environment=environment) as process:
        for net in NETS:
            rounded = [Task(net, 16, seed=2, precision="bf16")] * ("bf16" in kind.precisions)
            for task in [Task(net, 16, phase, seed=2) for phase in kind.phases()] + rounded:
                process.ask("build", task=task.to_json(), contender=kind.name())
                process.ask("check", file=str(file))
                with np.load(file) as arrays:
                    found = [arrays[f"a{i}"] for i in range(len(arrays.files))]
                verdict = Judge(task, make_problem(task)).verdict(found, epsilon=kind.epsilon)
                assert verdict.reason == "", (net.name, task.phase, task.precision)
                assert task.precision == "float32" or verdict.value_error > 1e-4, "not rounded"
                warm = process.ask("warm", seconds=0.001, round_s=0.001)
                assert process.ask("run", steps=warm["steps"])["wall_s"] > 0
                # a second start from the first weights ends where the first did
                process.ask("check", file=str(file))
                with np.load(file) as arrays:
                    for i, before in enumerate(found):
                        assert np.allclose(arrays[f"a{i}"], before, rtol=1e-4, atol=1e-6)
