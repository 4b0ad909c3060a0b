"""Every mode of every library that is installed computes what the reference does, in its own
process; those that are soon ready also in this one.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mlpx.benchmark import workloads
from mlpx.benchmark.check import Judge
from mlpx.benchmark.contenders.base import PEERS, modes
from mlpx.benchmark.contenders.sklearn import PartialFit
from mlpx.benchmark.processes import Process, device_environment
from mlpx.benchmark.workloads import CHECK_STEPS, Task, Workload, make_problem

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


SOON_READY = (
    "torch/eager",
    "torch/fused",
    "jax/jit",
    "jax/scan",
    "thinc/chain",
    "onnxruntime/session",
)


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


@pytest.fixture
def settings_put_back():
    """What contenders set for their whole process."""
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    wide = bool(jax and jax.config.jax_enable_x64)
    threads = torch.get_num_threads() if torch else None
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", wide)
    if threads:
        torch.set_num_threads(threads)


def agrees(kind, task):
    """Builds a contender in this process and compares its outcome; a training's twice."""
    made = kind(task, make_problem(task))
    for _ in range(2 if task.phase == "train" else 1):  # the second time as the first
        made.reset()
        made.run_checked(task.check_steps)
        found = Judge(task, make_problem(task)).verdict(made.outcome(), epsilon=made.epsilon)
        assert found.reason == "", task.phase


@pytest.mark.xdist_group("peers")
@pytest.mark.parametrize(
    "kind", [kind for kind in INSTALLED if kind.name() in SOON_READY], ids=lambda kind: kind.name()
)
@pytest.mark.usefixtures("settings_put_back")
def test_a_peer_in_this_process_agrees_with_the_reference(kind):
    for phase in kind.phases():
        agrees(kind, Task(NETS[0], 16, phase, seed=2))


@pytest.mark.xdist_group("peers")
@pytest.mark.usefixtures("settings_put_back")
def test_a_scan_shorter_than_the_check_is_checked_on_all_its_batches(monkeypatch):
    monkeypatch.setattr(workloads, "CALL_FLOPS", 1.0)
    scan = next((kind for kind in INSTALLED if kind.name() == "jax/scan"), None)
    if scan is None:
        pytest.skip("no GPU stack: JAX is not installed")
    task = Task(NETS[0], 16, seed=2)
    assert task.steps_a_call == 1 < task.check_steps
    agrees(scan, task)


@pytest.mark.parametrize(
    "net",
    [Workload("", (6, 8, 5, 2), "relu", "adam", 0.1), Workload("", (6, 2, 3), "sigmoid", "sgd", 1)],
    ids=["two classes", "two hidden units"],
)
def test_scikit_learn_agrees_with_the_reference(net):
    for phase in ("train", "predict", "start"):
        agrees(PartialFit, Task(net, 16, phase, dtype="float64", seed=2, least_rows=1))


def test_scikit_learn_begins_the_data_anew_at_its_end():
    task = Task(NETS[1], 16, least_rows=1)
    made = PartialFit(task, make_problem(task))
    seen = []
    made.classifier.partial_fit = lambda x, labels: seen.append((x, labels))
    made.reset()
    fresh = made.classifier
    assert (fresh.batch_size, fresh.n_iter_, fresh.t_, fresh.loss_curve_) == (16, 0, 0, [])
    made.train(CHECK_STEPS + 1)
    problem = made.problem
    for (x, labels), rows in zip(seen, [*problem.order, problem.order[0]], strict=True):
        assert np.array_equal(x, problem.x[rows])
        assert np.array_equal(labels, problem.labels[rows])
