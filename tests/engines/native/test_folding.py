"""Which updates are fused with their gradients, and which gradients are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import agrees
from lowered_step import lowered

from mlpx import BatchNorm, Dense, Optimizer
from mlpx.engines.lowering.operations import access
from mlpx.engines.native import runner as native
from mlpx.engines.native.folding import update_at_once
from mlpx.engines.native.library import load

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


def operations_of(layers: list[Any], rule: Optimizer) -> list[str]:
    """The names of the operations when the update is fused with the gradient."""
    found, gradient, count = lowered(layers, rule)
    found = update_at_once(found, gradient, count=count)
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
def test_other_rules_follow_tile_by_tile(rule: Optimizer) -> None:
    layers = [7, Dense(6, activation="tanh"), 3]
    names = operations_of(layers, rule)
    assert names.count("affine_dW_update") == names.count("column_sum") == 2
    assert "affine_dW" not in names
    assert len([name for name in names if name.startswith("rule_")]) == 2  # for the biases


@pytest.mark.parametrize(
    ("layers", "rule"),
    [
        ([7, 3], Optimizer.table["sgd"](0.1, clip_norm=1.0)),
        ([7, 3], Optimizer.table["sgd"](0.1, accumulate=3)),
        ([7, BatchNorm(), 3], Optimizer.resolve("sgd")),
        ([7, 3], Optimizer.resolve("lamb")),
        ([7, 3], Optimizer.resolve("muon")),
    ],
    ids=["clipped", "parts", "norm", "lamb", "muon"],
)
def test_a_gradient_that_is_read_is_kept(layers: list[Any], rule: Optimizer) -> None:
    names = operations_of(layers, rule)
    assert not [name for name in names if name.endswith(("_descend", "_update"))]


@pytest.mark.parametrize(
    ("layers", "rule", "steps"),
    [
        ([7, 3], Optimizer.table["sgd"](0.1, weight_decay=0.1), ["add_decay", "rule_sgd"]),
        ([7, 3], Optimizer.table["adam"](clip_value=1.0), ["clip_values", "rule_adam"]),
        ([7, Dense(3, penalty="l2")], Optimizer.resolve("sgd"), ["penalty_gradient", "rule_sgd"]),
        ([7, 3], Optimizer.resolve("adamw"), ["scale_by", "rule_adam"]),  # weights shrink first
        (
            [7, Dense(3, penalty="l2")],
            Optimizer.table["momentum"](weight_decay=0.1, clip_value=1.0),
            ["penalty_gradient", "clip_values", "add_decay", "rule_momentum"],
        ),
        (
            [7, 6, Dense(3, penalty="l2")],  # the rule's slice begins before the penalty's
            Optimizer.resolve("momentum"),
            ["penalty_gradient", "rule_momentum"],
        ),
    ],
    ids=["decay", "values", "penalty", "shrunk", "all", "of the second layer"],
)
def test_what_is_done_number_by_number_follows_too(
    layers: list[Any], rule: Optimizer, steps: list[str]
) -> None:
    """In its order; for the bias it is done afterwards."""
    found, gradient, count = lowered(layers, rule)
    made = update_at_once(found, gradient, count=count)
    update = max((op for op in made if op.name.endswith("_update")), key=lambda op: op["steps"])
    assert [step.name for step in update["updates"]] == steps
    weights = [op["W"] for op in found if op.name == "affine"][-1]
    after = made[made.index(update) + 1 :]
    assert not any(a.overlaps(access(weights, writes=True)) for op in after for a in op.touches)
    for step in update["updates"]:
        assert step.n[0] in (weights.size, len(weights))


def test_what_comes_after_the_rule_or_twice_is_done_by_itself() -> None:
    found, gradient, count = lowered([7, 3], Optimizer.table["momentum"](0.1, clip_value=1.0))
    clip = next(op for op in found if op.name == "clip_values")
    rule = next(op for op in found if op.name == "rule_momentum")
    rest = [op for op in found if op not in (clip, rule)]
    for steps in ([rule, clip], [clip, clip.replaced(limit=0.5), rule]):
        assert update_at_once([*rest, *steps], gradient, count=count) == [*rest, *steps]
    assert update_at_once([*rest, clip, rule], gradient, count=count) != [*rest, clip, rule]


def test_a_factor_that_the_step_computes_is_applied_by_itself() -> None:
    """The weights shrink by a number of a table; one that the step computes may come too late."""
    found, gradient, count = lowered([7, 3], Optimizer.resolve("adamw"))
    shrinks = [op for op in found if op.name == "scale_by"]
    computed = [op.replaced(table_columns=0) if op in shrinks else op for op in found]
    assert shrinks
    assert update_at_once(computed, gradient, count=count) == computed


def test_what_scales_other_numbers_stays() -> None:
    """Numbers of a table scale a vector that is none of the parameters."""
    found, gradient, count = lowered([7, 3], Optimizer.resolve("adamw"))
    shrink = next(op for op in found if op.name == "scale_by")
    other = np.ones(shrink["elements"], np.float32)
    scaling = replace(shrink.replaced(a=other), touches=(access(other, writes=True),))
    made = update_at_once([*found, scaling], gradient, count=count)
    assert made[-1] is scaling
    assert [op.name for op in made].count("scale_by") == 1
    assert "affine_dW_update" in [op.name for op in made]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_what_is_updated_at_once_is_known_to_be_written(name: str) -> None:
    """All parameters and moments; those of a weight by the thread that has its rows."""
    rule = Optimizer.resolve(name)
    found, gradient, count = lowered([7, Dense(6, activation="tanh"), 3], rule)
    rules = [op for op in found if op.name.startswith("rule_")]
    wanted = [a for op in rules for a in op.touches if a.writes]
    made = update_at_once(found, gradient, count=count)
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
    assert update_at_once(part, gradient, count=count) == part


def test_weights_that_are_read_before_the_rule_are_not_updated_at_once() -> None:
    """Here dx is moved after the gradient of the weights that it reads."""
    operations, gradient, count = lowered(
        [7, Dense(6, activation="tanh"), 3], Optimizer.resolve("adam")
    )
    moved = next(op for op in operations if op.name == "affine_dx")
    rest = [op for op in operations if op is not moved]
    first = next(i for i, op in enumerate(rest) if op.name.startswith("rule_"))
    late = [*rest[:first], moved, *rest[first:]]
    assert update_at_once(late, gradient, count=count) == late


@pytest.mark.parametrize("batch_size", [1, 8, 40])
@pytest.mark.parametrize("optimizer", ["nesterov", "adam", "amsgrad", "rmsprop"])
def test_weights_updated_tile_by_tile(
    optimizer: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several tiles of rows, and of columns too."""
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: False)
    rule = Optimizer.table[optimizer](1e-3)
    options = {"optimizer": rule, "batch_size": batch_size, "rows": batch_size + 1}
    agrees(
        "native", [7, Dense(400, activation="tanh"), Dense(400, activation="tanh"), 3], **options
    )
    agrees("native", [7, Dense(5000, activation="tanh"), 3], **options)


def test_a_gradient_from_elsewhere_is_descended() -> None:
    """A rule without its gradient is kept, even if only part of the gradient is missing."""
    found, gradient, count = lowered([7, 3], Optimizer.resolve("sgd"))
    rules = [op for op in found if op.name == "rule_sgd"]
    for given in (rules, [op for op in found if op.name != "column_sum"]):
        assert update_at_once(given, gradient, count=count) == given
