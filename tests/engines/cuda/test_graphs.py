"""Many steps take few launches: graphs captured when it is worth it, and their dependencies."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import cudasim
import numpy as np
import pytest
from cuda_training import train

from mlpx import MLP, Callback, Dense
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.graphs import capture, heirs, lanes, needs
from mlpx.engines.cuda.replayer import Replayer, counts, largest
from mlpx.engines.cuda.runner import CudaRunner
from mlpx.engines.lowering import Access, Operation

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]
BATCH = 4


class Watch(Callback):
    """Records the runner, and how often each of its graphs was launched, by plan and epoch."""

    def __init__(self) -> None:
        self.launches: list[dict[tuple[str, int], int]] = []
        self.graphs: dict[int, Any] = {}

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.runner: CudaRunner = run.execute
        names = {id(run.program.full): "full", id(run.program.last): "last"}
        before = [sum(launched.get(key, 0) for launched in self.launches) for key in self.keys]
        found = {(names[p], n): g.launches for (p, n), g in self.runner.replayer.graphs.items()}
        for key, count in zip(self.keys, before, strict=True):
            found[key] -= count
        self.launches.append({key: count for key, count in found.items() if count})

    @property
    def keys(self) -> list[tuple[str, int]]:
        return sorted({key for launched in self.launches for key in launched})


def test_cublaslt_is_told_how_much_room_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, best = [], cublaslt.CublasLt.best

    def watched(self: Any, descriptor: Any, layouts: Any, wishes: Any) -> Any:
        asked.append(wishes[cublaslt.PREF_MAX_WORKSPACE_BYTES].value)
        return best(self, descriptor, layouts, wishes)

    monkeypatch.setattr(cublaslt.CublasLt, "best", watched)
    rooms = [room.nbytes for room in fit(2)[0].runner.planner.workspaces.values()]
    assert rooms
    assert set(asked) == set(rooms)


def test_a_chain_waits_link_by_link() -> None:
    """A node does not wait for what the node before it waits for already."""
    link = Operation("", (), (), (), (Access(0, 4, True),))
    beside = Operation("", (), (), (), (Access(8, 12, True),))
    both = Operation("", (), (), (), (Access(0, 12, False),))
    assert needs([link] * 4) == [[], [0], [1], [2]]
    assert needs([link, beside, link, both, link]) == [[], [], [0], [2, 1], [3]]


def test_the_example_of_lanes_is_true() -> None:
    """Its table is what the functions make of what the operations read and write."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in (lanes.__doc__ or "").splitlines()]
    table = [row for row in rows if len(row) == 7 and row[0][0].isdigit()]
    assert [row[0][0] for row in table] == list("0123456")
    names = sorted({word for _, read, written, *_ in table for word in f"{read} {written}".split()})

    def touch(name: str, *, writes: bool = False) -> Access:
        return Access(names.index(name), names.index(name) + 1, writes)

    operations = [
        Operation("", (), (), (), (*map(touch, read.split()), touch(written, writes=True)))
        for _, read, written, *_ in table
    ]
    needed = needs(operations)
    height, heir = heirs(needed)

    def listed(numbers: list[int]) -> str:
        return " ".join(map(str, numbers)) or "-"

    for i, (lane, row) in enumerate(zip(lanes(operations), table, strict=True)):
        heir_of = [j for j in needed[i] if heir[j] == i]
        found = (listed(needed[i]), str(height[i]), listed(heir_of), str(lane))
        assert tuple(row[3:]) == found, row


def fit(steps: int, *, rest: int = 0, model: MLP | None = None, **options: Any) -> Any:
    """Train on full batches and `rest` more rows per epoch; returns the watch and the history."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(steps * BATCH + rest, 3)).astype(np.float32)
    y = rng.integers(0, 2, size=len(x))
    model, watch = model or MLP([3, 2, 2], device="cuda"), Watch()
    given = {"batch_size": BATCH, "verbose": 0, "callbacks": [watch], "engine": "cuda"} | options
    return watch, model.fit(x, y, **given)


@pytest.mark.parametrize(
    ("steps", "most", "wanted"),
    [(600, 32, [32] * 18 + [16, 8]), (31, 32, [16, 8, 4, 2, 1]), (5, 1, [1] * 5), (0, 32, [])],
)
def test_steps_are_the_fewest_powers_of_two(steps: int, most: int, wanted: list[int]) -> None:
    assert list(counts(steps, most)) == wanted


def test_the_largest_power_of_two() -> None:
    assert [largest(n) for n in (0, 1, 2, 3, 4, 31, 32, 33)] == [1, 1, 2, 2, 4, 16, 32, 32]


def test_an_epoch_is_few_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second epoch of its kind on: a graph that is used once is not captured."""
    monkeypatch.setattr("mlpx.engines.cuda.runner.MOST_STEPS", 8)
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 1e9)
    watch, _ = fit(30, rest=3, epochs=4)
    # Runs of 1, 2, 4, 8 and 15 steps, the first step launched: the 8 + 4 + 2 + 1 of the last has
    # a second place for 4 and for 2. Then 30 = 3 x 8 + 4 + 2.
    assert watch.launches == [
        {("full", 8): 1 + 1, ("full", 4): 1, ("full", 2): 1, ("full", 1): 2 + 4 + 1},
        {("full", 8): 3, ("full", 4): 1, ("full", 2): 1, ("last", 1): 1},
        {("full", 8): 3, ("full", 4): 1, ("full", 2): 1, ("last", 1): 1},
        {("full", 8): 3, ("full", 4): 1, ("full", 2): 1, ("last", 1): 1},
    ]
    assert watch.runner.notes == []


def test_what_is_asked_once_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the end of a training; its steps are launched by smaller graphs."""
    model = MLP([3, 2, 2], device="cuda")
    watch, _ = fit(8, model=model, epochs=1)
    runner, plan = watch.runner, watch.runner.program.full
    assert plan is not None
    launched: list[int] = []

    def capture(cuda: Any, launches: Any, count: int, *_: Any) -> Any:
        return SimpleNamespace(launch=lambda stream: launched.append(count))

    monkeypatch.setattr("mlpx.engines.cuda.replayer.capture", capture)
    monkeypatch.setattr(runner.replayer, "most_steps", 16)
    runner.replayer.graphs.clear()
    runner.replayer.wanted.clear()
    for steps, wanted in [
        (6, [1] * 6),
        (20, [16, 4]),
        (12, [4, 4, 4]),
        (2, [2]),
        (8, [8]),
    ]:
        runner.replayer.run(plan, steps, runner.stream)
        assert launched == wanted
        launched.clear()


def test_graphs_of_any_size_take_the_steps_of_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, whatever the graphs, even if nothing can be captured."""
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 1e9)
    found = []
    for most in (1, 4, 32, None):
        if most is None:
            monkeypatch.setattr(Replayer, "_graph", lambda *_: None)
        monkeypatch.setattr("mlpx.engines.cuda.runner.MOST_STEPS", most or 32)
        found.append(fit(23, rest=1, epochs=3)[1].step_loss.tobytes())
    assert len(set(found)) == 1


def test_wide_steps_have_small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest graph has a power of two of steps, and about as many operations as allowed."""
    watch, _ = fit(8, epochs=1)
    runner, plan = watch.runner, watch.runner.program.full
    assert plan is not None
    size = len(runner.replayer.launches[id(plan)])
    for nodes, most in ((size - 1, 1), (3 * size, 2), (7 * size, 4), (8 * size, 8)):
        monkeypatch.setattr("mlpx.engines.cuda.replayer.NODES", nodes)
        assert runner.replayer.most(plan) == most


def test_other_data_are_captured_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs, and the counts of their uses, belong to the addresses of the data."""
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 1e9)
    runner = fit(14, epochs=3)[0].runner
    assert {n for _, n in runner.replayer.graphs} == {1, 2, 4, 8}
    runner.feed()  # the program's data are gone
    assert runner.replayer.graphs
    elsewhere = runner.backend.zeros(1)
    monkeypatch.setattr(runner.program.batch, "data", SimpleNamespace(x=elsewhere, y=elsewhere))
    runner.feed()
    assert (runner.replayer.graphs, runner.replayer.wanted) == ({}, {})


@pytest.mark.parametrize(
    ("hidden", "steps"), [((50,), 1), ((50,), 3), ((30, 20), 1), ((30, 20, 15), 4)], ids=str
)
def test_the_longest_chain_of_a_step_is_its_products_and_the_rule(
    runner: list[Any], hidden: tuple[int, ...], steps: int
) -> None:
    """Per step: L - 1 products forward, the head, L - 2 products back, a gradient, and the rule.

    At the end the counters, once. Other gradients and the next rows run in parallel.
    """
    layers: list[Any] = [49, *(Dense(units, activation="relu") for units in hidden), 10]
    model = MLP(layers, device="cuda")
    train(model=model, optimizer="sgd", epochs=1)
    (made,) = runner
    launches = made.replayer.launches[id(made.program.full)]
    graph = capture(
        made.cuda, launches, steps, made.planner.positions.move_to, made.replayer.advance(steps)
    )
    length: dict[Any, int] = {}
    for node in graph.nodes:
        length[node] = 1 + max((length[before] for before in node.after), default=0)
    products = len(hidden) + 1
    assert max(length.values()) == steps * (products - 1 + 1 + products - 2 + 1 + 1) + 1
    assert length[graph.nodes[-1]] == max(length.values())
    assert all(graph.nodes[-1].follows(node) for node in graph.nodes[:-1])


@pytest.mark.parametrize(
    ("touched", "needed", "placed"),
    [
        # What each operation reads and what it writes.
        ("", [], []),
        ("-a", [[]], [0]),
        ("-a ab bc", [[], [0], [1]], [0, 0, 0]),
        ("-a -b abc", [[], [], [1, 0]], [0, 1, 0]),
        ("-a aw ab bc c-", [[], [0], [0], [2], [3]], [0, 1, 0, 0, 0]),
        ("-a ab ac c-", [[], [0], [0], [2]], [0, 1, 0, 0]),  # what is waited for goes on
        # What comes last is beside what else nobody waits for.
        ("-a ab bc bd", [[], [0], [1], [1]], [0, 0, 0, 1]),
    ],
)
def test_operations_wait_for_what_they_need_alone(
    touched: str, needed: list[list[int]], placed: list[int]
) -> None:
    operations = [operation_on(*letters) for letters in touched.split()]
    assert needs(operations) == needed
    assert lanes(operations) == placed


def operation_on(*letters: str) -> Operation:
    """An operation that reads the arrays of all letters but the last, and writes the last."""
    touches = [
        Access(ord(c), ord(c) + 1, i == len(letters) - 1) for i, c in enumerate(letters) if c != "-"
    ]
    return Operation("any", (), (), (), tuple(touches))


def test_a_step_ends_where_its_last_branch_does(fake_cupy: Any) -> None:
    done: list[str] = []

    def put(name: str, lane: int) -> tuple[Operation, Any]:
        stream = fake_cupy.cuda.get_current_stream
        return Operation(name, (), (), (), (), lane=lane), lambda: stream().put(
            lambda: done.append(name)
        )

    launches = [put("first", 2), put("second", 0), put("last", 1)]
    moved: list[int] = []
    behind = put("behind", 0)[1]
    graph = capture(fake_cupy.cuda, launches, 2, moved.append, behind)
    graph.launch()
    assert moved == [0, 1, 0]
    assert done.pop() == "behind"
    assert sorted(done[:3]) == sorted(done[3:]) == ["first", "last", "second"]
