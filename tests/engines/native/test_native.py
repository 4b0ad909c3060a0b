"""The native engine computes what the interpreter does, wherever it has an operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cases import LAYERS, agrees

from mlpx import (
    L2,
    MLP,
    BatchNorm,
    Dense,
    Dropout,
    Optimizer,
)
from mlpx.engines.lowering import Operation, address, lower
from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import Translator
from mlpx.engines.native import NativeEngine, tiles
from mlpx.engines.native import runner as native
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.barriers import schedule
from mlpx.engines.native.folding import update_at_once
from mlpx.engines.native.library import load
from mlpx.errors import EngineError
from mlpx.kernels.activations import LeakyReLU
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "lamb"])
def test_single_precision_loses_no_more_than_the_interpreter(name: str) -> None:
    """1 - beta keeps all its digits: 1 - 0.999f has five, which moved Adam's loss in the sixth."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 7)), rng.integers(0, 3, size=400)
    losses = {}
    for key in (("float64", "native"), ("float32", "native"), ("float32", "interpreter")):
        model = MLP([7, Dense(6, activation="tanh"), 3], dtype=key[0])
        options = {"epochs": 4, "batch_size": 20, "optimizer": name, "engine": key[1]}
        losses[key] = model.fit(x.astype(key[0]), y, verbose=0, **options).step_loss
    exact = losses["float64", "native"]
    ours, theirs = (
        np.abs(losses["float32", e] / exact - 1).max() for e in ("native", "interpreter")
    )
    assert ours < 3 * theirs + 1e-7


@pytest.mark.parametrize("own", [True, False], ids=["own sums", "shared sums"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_tiles(layers: list[Any], own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a batch is not a whole number of tiles, or has fewer rows than the data."""
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: own)
    monkeypatch.setattr(tiles, "_tiles", lambda *_, **__: 4)
    agrees("native", layers, batch_size=42, optimizer="momentum")


def test_parts_of_a_batch_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: True)
    monkeypatch.setattr(tiles, "_tiles", lambda *_, **__: 4)
    agrees(
        "native", LAYERS["dropout"], optimizer=Optimizer.table["adam"](accumulate=2), batch_size=10
    )


def test_rows_run_in_tiles_that_fit_the_cache() -> None:
    """Gathering, network, loss and backward pass are one chain, in tiles that fit the cache."""
    model = MLP([100, Dense(50, activation="tanh"), 10])
    data = TrainingData(np.ones((4096, 100), np.float32), np.zeros(4096, np.int64), None)
    program = TrainingProgram(
        model, data, optimizer=Optimizer.resolve("sgd"), moments={}, batch_size=4096, rows=4096
    )
    plan = program.full
    assert plan is not None
    found = tiles.sum_by_rows(lower(program, plan, NativeTarget()), program.gradient, None)
    placed = schedule(found)
    links = tiles.chains(placed, threads=1, weights=model.flat.nbytes)
    chain, count = max(links)
    names = [operation.name for operation, _ in placed[:chain]]
    assert {"gather", "affine", "softmax_loss", "affine_dW_part", "column_sum_part"} <= set(names)
    row_bytes = 4 * (100 + 50 + 50 + 10 + 10 + 3) + 8  # with the loss's; and the label
    assert count == round(4096 * row_bytes / tiles.CACHED_BYTES)
    for threads, share in ((2, 1), (1, 2)):  # rows of two threads; weights that fill it twice
        links = tiles.chains(placed, threads=threads, weights=share * tiles.CACHED_BYTES)
        assert max(links) == (chain, round(4096 * row_bytes / tiles.CACHED_BYTES / 2))


def lowered(layers: list[Any], rule: Optimizer) -> tuple[list[Operation], np.ndarray, int]:
    """The operations of a step of three rows, its gradient, and the number of parameters."""
    model = MLP(layers)
    data = TrainingData(np.ones((9, layers[0]), np.float32), np.zeros(9, np.int64), None)
    moments = {name: np.zeros(model.layout.size, np.float32) for name in rule.moments}
    program = TrainingProgram(
        model, data, optimizer=rule, moments=moments, batch_size=3 * rule.accumulate, rows=9,
        part_rows=3,
    )  # fmt: skip
    assert program.full is not None
    found = lower(program, program.full, NativeTarget())
    return found, program.gradient, len(model.layout)


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_operations_touch_what_they_are_given(layers: list[Any]) -> None:
    """All of each array; otherwise no thread would wait for it."""
    for name in ("sgd", "adam", "lamb", "muon"):
        found, *_ = lowered(layers, Optimizer.resolve(name))
        for operation in found:
            for given in (access(a) for a in operation.p if isinstance(a, np.ndarray)):
                assert any(
                    a.start <= given.start and given.stop <= a.stop for a in operation.touches
                ), operation.name


def test_a_row_ends_where_the_next_thing_begins() -> None:
    memory, table = np.zeros(20), np.zeros((3, 10))
    no_plan: Any = None
    to, start = Translator(no_plan, NativeTarget(), memory.dtype), address(table)
    to.rows_of[address(memory) or 0] = table
    found = [to.row_source(memory[i:]) for i in (0, 9, 10)]
    assert [row and row[0] for row in found] == [start, (start or 0) + 72, None]


def operations_of(layers: list[Any], rule: Optimizer, *, tiled: bool = True) -> list[str]:
    """The names of the operations when the update is fused with the gradient."""
    found, gradient, count = lowered(layers, rule)
    found = update_at_once(found, gradient, count=count, tiled=tiled)
    return [operation.name for operation in found]


def test_plain_descent_keeps_no_gradient() -> None:
    """If only the rule reads it; several groups of parameters each have their own rate."""
    sgd = Optimizer.table["sgd"]
    for rule in (sgd(0.1), sgd(0.1, rate_multipliers={"bias": 2.0, "0": 0.5})):
        names = operations_of([7, Dense(6, activation="tanh"), 3], rule)
        assert names.count("affine_dW_descend") == names.count("column_sum_descend") == 2
        assert names.count("activation") == 2  # which add the biases too
        assert not {"rule_sgd", "affine_dW", "column_sum"} & set(names)


@pytest.mark.parametrize(
    "rule",
    [
        *(Optimizer.resolve(name) for name in ("momentum", "adam", "nadam", "rmsprop")),
        Optimizer.table["adam"](rate_multipliers={"bias": 2.0, "0": 0.5}),
    ],
    ids=["momentum", "adam", "nadam", "rmsprop", "groups"],
)
def test_other_rules_follow_tile_by_tile_or_afterwards(rule: Optimizer) -> None:
    layers = [7, Dense(6, activation="tanh"), 3]
    names = operations_of(layers, rule)
    assert names.count("affine_dW_update") == names.count("column_sum") == 2
    assert "affine_dW" not in names
    assert len([name for name in names if name.startswith("rule_")]) == 2  # for the biases
    assert "affine_dW_update" not in operations_of(layers, rule, tiled=False)


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    ("layers", "rule"),
    [
        ([7, 3], Optimizer.table["sgd"](0.1, clip_norm=1.0)),
        ([7, 3], Optimizer.table["sgd"](0.1, weight_decay=0.1)),
        ([7, 3], Optimizer.table["adam"](0.1, clip_value=1.0)),
        ([7, 3], Optimizer.table["sgd"](0.1, accumulate=3)),
        ([7, Dense(3, penalty="l2")], Optimizer.resolve("sgd")),
        ([7, BatchNorm(), 3], Optimizer.resolve("sgd")),
        ([7, 3], Optimizer.resolve("lamb")),
        ([7, 3], Optimizer.resolve("muon")),
        ([7, 3], Optimizer.resolve("adamw")),  # weights shrink before the rule
    ],
    ids=["clipped", "decay", "values", "parts", "penalty", "norm", "lamb", "muon", "shrunk"],
)
def test_a_gradient_that_is_read_is_kept(layers: list[Any], rule: Optimizer, tiled: bool) -> None:
    names = operations_of(layers, rule, tiled=tiled)
    assert not [name for name in names if name.endswith(("_descend", "_update"))]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_what_is_updated_at_once_is_known_to_be_written(name: str) -> None:
    """All parameters and moments; those of a weight by the thread that has its rows."""
    rule = Optimizer.resolve(name)
    found, gradient, count = lowered([7, Dense(6, activation="tanh"), 3], rule)
    rules = [op for op in found if op.name.startswith("rule_")]
    wanted = [a for op in rules for a in op.touches if a.writes]
    made = update_at_once(found, gradient, count=count, tiled=True)
    updates = [op for op in made if op.name.endswith(("_descend", "_update")) or "rule" in op.name]
    memory = access(gradient, writes=True)
    written = [a for op in updates for a in op.touches if a.writes and not a.overlaps(memory)]
    for a in written:
        assert any(b.start <= a.start < a.stop <= b.stop for b in wanted)
        assert [b for b in written if a.overlaps(b)] == [a]
    size = sum(a.stop - a.start for a in written)
    assert size == count * gradient.itemsize * (1 + len(rule.moments))
    for op in updates:
        assert len({a.division for a in op.touches if a.writes}) == 1


def test_a_gradient_that_the_rule_does_in_part_is_kept() -> None:
    found, gradient, count = lowered([300, 400, 3], Optimizer.resolve("adam"))
    first = next(op for op in found if op.name.startswith("rule_"))
    part = [op for op in found if op is not first]  # the first slice of the weights is not moved
    assert update_at_once(part, gradient, count=count, tiled=True) == part


def test_weights_that_are_read_before_the_rule_are_not_updated_at_once() -> None:
    """Here dx is moved after the gradient of the weights that it reads."""
    operations, gradient, count = lowered(
        [7, Dense(6, activation="tanh"), 3], Optimizer.resolve("adam")
    )
    moved = next(op for op in operations if op.name == "affine_dx")
    rest = [op for op in operations if op is not moved]
    first = next(i for i, op in enumerate(rest) if op.name.startswith("rule_"))
    late = [*rest[:first], moved, *rest[first:]]
    assert update_at_once(late, gradient, count=count, tiled=True) == late


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("optimizer", ["nesterov", "adam", "amsgrad", "rmsprop"])
def test_weights_updated_tile_by_tile(
    optimizer: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several tiles of rows, and of columns too."""
    monkeypatch.setattr(native, "LEAST_TILED_PARAMETERS", 0)
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: False)
    rule = Optimizer.table[optimizer](1e-3)
    options = {"optimizer": rule, "batch_size": batch_size, "rows": min(2 * batch_size, 9)}
    agrees(
        "native", [7, Dense(400, activation="tanh"), Dense(400, activation="tanh"), 3], **options
    )
    agrees("native", [7, Dense(5000, activation="tanh"), 3], **options)


def test_a_gradient_from_elsewhere_is_descended() -> None:
    """A rule without its gradient is kept, even if only part of the gradient is missing."""
    found, gradient, count = lowered([7, 3], Optimizer.resolve("sgd"))
    rules = [op for op in found if op.name == "rule_sgd"]
    for given in (rules, [op for op in found if op.name != "column_sum"]):
        assert update_at_once(given, gradient, count=count, tiled=True) == given


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 7)).astype("float32"), rng.integers(0, 3, size=300)
    flats = []
    for _ in range(3):
        model = MLP([7, Dense(6, activation="tanh"), Dropout(0.1), 3])
        model.fit(x, y, batch_size=90, engine="native", threads=threads, verbose=0)
        flats.append(model.flat)
    assert all(np.array_equal(flats[0], flat) for flat in flats[1:])


def step_of(layers: list[int], rows: int) -> TrainingProgram:
    data = TrainingData(np.ones((rows, layers[0]), np.float32), np.zeros(rows, np.int64), None)
    rule = Optimizer.resolve("sgd")
    return TrainingProgram(
        MLP(layers), data, optimizer=rule, moments={}, batch_size=rows, rows=rows
    )


def test_threads_are_for_what_is_worth_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "usable_cores", lambda: 3)

    def threads(layers: list[int], rows: int) -> bool:
        return {1: False, 3: True}[native.worthwhile_threads(step_of(layers, rows))]

    assert [threads([784, 50, 10], n) for n in (1, 32, 64)] == [0, 0, 1]
    assert [threads([20, 64, 64, 2], n) for n in (32, 128)] == [0, 1]
    monkeypatch.setattr(native, "ROWS_BY_PARAMETERS", 0)
    assert [threads([7, 10], native.LEAST_ROWS + n) for n in (0, 1)] == [0, 1]
    for least, worth in ((80, True), (81, False)):
        monkeypatch.setattr(native, "UNCACHED_PARAMETERS", least)
        assert threads([7, 10], 1) == worth


def test_tiles_of_weights_are_for_few_rows_of_many_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for least, rows, worth in ((80, 32, True), (81, 32, False), (80, 33, False), (81, 33, False)):
        monkeypatch.setattr(native, "LEAST_TILED_PARAMETERS", least)
        assert native.worth_tiles(step_of([7, 10], rows)) == worth


@pytest.mark.parametrize(("threads", "rows"), [(1, 6), (2, 6), (5, 15)])
def test_own_sums_are_for_what_is_more_than_the_gradients_of_all_threads(
    threads: int, rows: int
) -> None:
    """Here a gradient has 28 parameters, and a row ten numbers."""
    worth = []
    for n in (rows - 1, rows):
        program = step_of([6, 4], n)
        assert program.full is not None
        operations = lower(program, program.full, NativeTarget())
        worth.append(native.worth_own_sums(operations, program, threads))
    assert worth == [False, True]


def test_all_rows_at_once_without_an_optimizer() -> None:
    """L-BFGS takes the gradient out of the program: no rule in it waits for the threads' parts."""
    agrees(
        "native",
        [7, Dense(6, activation="tanh", penalty=L2(0.01)), 3],
        optimizer="lbfgs",
        batch_size=None,
    )


def test_dropout_goes_on_where_it_stopped() -> None:
    """Five epochs and five are ten: the masks depend on the steps over all fits."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(45, 7)), rng.integers(0, 3, size=45)
    flats = []
    for parts in ([4], [1, 3]):
        model = MLP(LAYERS["dropout"])
        for epochs in parts:
            model.fit(x, y, epochs=epochs, batch_size=8, engine="native", verbose=0)
        flats.append(model.flat)
    assert np.array_equal(*flats)


@pytest.mark.parametrize("seed", [0, 2**63 + 5, 2**64 - 1])
def test_any_seed_draws_the_same_masks(seed: int) -> None:
    x, y = np.ones((45, 7)), np.arange(45) % 3
    flats = []
    for engine in ("interpreter", "native"):
        model = MLP([7, Dropout(0.5), 3], seed=seed, dtype="float64")
        model.fit(x, y, epochs=1, engine=engine, verbose=0)
        flats.append(model.flat)
    np.testing.assert_allclose(*flats, rtol=1e-12)


def test_a_class_of_the_users_is_interpreted() -> None:
    """Even if it is derived from one of ours, whose operation would do something else."""

    class Steeper(LeakyReLU, name="steeper_of_the_tests"):
        def forward(self, xp: Any, z: Any, *, out: Any, work: Any) -> None:
            xp.multiply(z, 2.0, out=out)

    model = MLP([7, Dense(6, activation=Steeper()), 3])
    history = model.fit(np.ones((9, 7)), np.arange(9) % 3, epochs=1, verbose=0)
    assert history.engine == "interpreter"
    assert "steeper_of_the_tests" in str(history.engine_reason)
    assert NativeEngine().predictor(model) is None
    del Steeper.table["steeper_of_the_tests"]


def test_engine_asked_for_says_what_it_cannot_do() -> None:
    with pytest.raises(EngineError, match="numerical"):
        MLP([7, 3]).fit(
            np.ones((9, 7)), np.arange(9) % 3, engine="native", gradient="numerical", verbose=0
        )
