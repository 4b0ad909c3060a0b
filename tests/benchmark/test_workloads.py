"""What is benchmarked: names, widths, counts of operations, and shared numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlpx.benchmark.workloads import (
    ARITHMETIC,
    CHECK_STEPS,
    LONGEST_CALL,
    PHASES,
    WORKLOADS,
    Task,
    Workload,
    make_problem,
    parse_workload,
)
from mlpx.errors import InputError, UnknownNameError
from mlpx.training.sampling import SAMPLINGS

SMALL = Workload("small", (3, 4, 2), "relu", "adam", 1e-3)


def test_the_table_in_the_documentation_is_the_codes():
    text = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    told = {row[0]: row[1:] for row in rows if row and row[0] in WORKLOADS}
    sizes = told["mnist"][2]
    for name, workload in WORKLOADS.items():
        net = f"{'-'.join(map(str, workload.layers))}, {workload.activation}"
        rule = f"{workload.optimizer}, {workload.learning_rate:g}"
        assert [cell.lower() for cell in told[name][:2]] == [net, rule]
        assert told[name][2].replace("the same", sizes) == str(workload.batch_sizes)[1:-1]


@pytest.mark.parametrize("name", WORKLOADS)
def test_names(name):
    assert parse_workload(f" {name.upper()} ") is WORKLOADS[name]


def test_the_nets_the_project_promised():
    assert WORKLOADS["mnist"].layers == (784, 50, 10)
    assert WORKLOADS["mnist"].optimizer == "sgd"
    assert WORKLOADS["wide"].layers == (784, 512, 512, 10)
    assert WORKLOADS["tabular"].layers == (20, 64, 64, 2)
    assert WORKLOADS["deep"].batch_sizes == (32, 512, 2048)


@pytest.mark.parametrize("text", ["784,50,10", "784-50-10", " 784, 50, 10 "])
def test_widths(text):
    assert parse_workload(text).layers == (784, 50, 10)
    assert parse_workload("3-2") == Workload("3-2", (3, 2), "relu", "adam", 1e-3)
    assert parse_workload("1,1,2").layers == (1, 1, 2)


@pytest.mark.parametrize("text", ["20,16x300,2", "20-16x300-2", "20," + 300 * "16," + "2"])
def test_widths_of_many_layers(text):
    found = parse_workload(text)
    assert found.layers == (20, *300 * [16], 2)
    assert found.name == "20-16x300-2"
    assert parse_workload("8-4-4-4-4-2").name == "8-4-4-4-4-2"
    assert parse_workload("8-4x3-2").name == "8-4-4-4-2"
    assert len(parse_workload("8,4x9999,2").layers) == 10_001


@pytest.mark.parametrize(
    "text", ["784", "784,,10", "784,0,10", "784,50,1", "7x,2", "8,4x0,2", "8,4x99999,2", "8x4x2,2"]
)
def test_widths_that_are_none(text):
    with pytest.raises(InputError, match="layers"):
        parse_workload(text)


def test_an_unknown_name_is_helped():
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        parse_workload("mnits")


def test_flops_by_hand():
    n = 5
    forward = 2 * n * (3 * 4 + 4 * 2)
    assert SMALL.flops(n, "forward") == SMALL.flops(n, "predict") == forward
    # dW of both layers, and dx of the second alone
    assert SMALL.flops(n, "train") == 2 * forward + 2 * n * 4 * 2
    for phase in ("backward", "call", "start"):
        assert SMALL.flops(n, phase) == SMALL.flops(n, "train")
    assert SMALL.flops(n, "update") == 0
    assert SMALL.parameter_count == 3 * 4 + 4 + 4 * 2 + 2


def test_a_task_survives_json():
    task = Task(SMALL, 32, "backward", "float64", "cpu", 2, 7, least_rows=9)
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
    task = replace(task, dtype="float32", precision="bf16")
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_arithmetic_is_the_least_that_is_kept():
    found = {name: Task(SMALL, 1, dtype=dtype, precision=precision).arithmetic
             for name, (dtype, precision) in ARITHMETIC.items()}  # fmt: skip
    assert found == {name: name for name in ARITHMETIC}


def test_a_gpu_has_a_host_with_threads():
    assert Task(SMALL, 1, threads=2).host_threads == 2
    assert Task(SMALL, 1, device="cuda:1", threads=2).host_threads == 8
    assert Task(SMALL, 1, device="cuda", threads=12).host_threads == 12


def test_rows_are_as_many_as_asked_for_in_whole_batches():
    assert Task(SMALL, 100, least_rows=60_000).rows == 60_000
    assert Task(SMALL, 32, least_rows=40).rows == 5 * 32


@pytest.mark.parametrize("batch_size", [1, 7, 4096])
def test_problem_is_whole_batches_and_the_same_each_time(batch_size):
    task = Task(SMALL, batch_size, seed=3)
    problem, again = make_problem(task), make_problem(task)
    assert problem.x.shape == (task.rows, 3)
    assert problem.x.dtype == np.float32
    assert task.rows % batch_size == 0
    assert task.steps_per_epoch >= CHECK_STEPS
    assert problem.order.shape == (task.steps_per_epoch, batch_size)
    assert np.array_equal(np.sort(problem.order, axis=None), np.arange(task.rows))
    assert problem.labels.min() == 0
    assert problem.labels.max() == 1
    assert np.array_equal(problem.x, again.x)
    assert np.array_equal(problem.weights[1], again.weights[1])
    other = make_problem(Task(SMALL, batch_size, seed=4))
    assert not np.array_equal(problem.x, other.x)
    assert not np.array_equal(problem.order, other.order)


def test_what_moves_is_compared_after_five_steps():
    found = {phase: Task(SMALL, 1, phase) for phase in PHASES}
    moving = {phase for phase, task in found.items() if task.moves}
    assert moving == {"train", "update", "call", "start", "checkpoint"}
    longer = {phase for phase, task in found.items() if task.check_steps == CHECK_STEPS}
    assert longer == moving - {"start"}
    assert {task.check_steps for phase, task in found.items() if phase not in longer} == {1}


def test_a_heavy_check_has_fewer_steps():
    deep = WORKLOADS["deep"]
    found = {size: Task(deep, size).check_steps for size in (512, 2048, 65536)}
    assert found == {512: 4, 2048: 2, 65536: 2}
    assert Task(deep, 2048, "update").check_steps == CHECK_STEPS


def test_a_call_is_an_epoch_or_about_a_second():
    assert Task(WORKLOADS["mnist"], 1).steps_a_call == LONGEST_CALL
    assert Task(WORKLOADS["mnist"], 32).steps_a_call == 8192 // 32
    assert Task(WORKLOADS["deep"], 32).steps_a_call == 43
    assert Task(WORKLOADS["deep"], 2048).steps_a_call == 1
    assert Task(WORKLOADS["mnist"], 32, "update").steps_a_call == 8192 // 32


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("sigmoid", 1)])
def test_first_weights_are_as_wide_as_the_activation_wants(activation, gain):
    task = Task(Workload("w", (50, 400, 2), activation, "sgd", 0.1), 1, dtype="float64")
    problem = make_problem(task)
    assert problem.weights[0].std() == pytest.approx(np.sqrt(gain / 50), rel=0.02)
    assert [b.tolist() for b in problem.biases] == [[0.01] * 400, [0.01] * 2]
    assert {a.dtype for a in (problem.x, *problem.weights, *problem.biases)} == {
        np.dtype("float64")
    }


def test_the_order_is_that_of_the_first_epoch_of_a_fit():
    task = Task(SMALL, 4, seed=5)
    problem = make_problem(task)
    assert task.rows == 8192
    assert np.array_equal(problem.order.ravel(), SAMPLINGS["shuffle"](5, 0, 8192, 8192))
    x, labels = problem.batch
    assert np.array_equal(x, problem.x[problem.order[0]])
    assert np.array_equal(labels, problem.labels[problem.order[0]])
