"""Which operations are joined with the products beside them, and which are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from engine_cases import LAYERS
from lowered_step import lowered

from mlpx import BatchNorm, Dense, Dropout, Optimizer, Rescale, Residual
from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.lowering.operations import access
from mlpx.engines.native import fusing
from mlpx.engines.native.barriers import division, schedule
from mlpx.engines.native.fusing import (
    fuse,
    join_activations,
    join_slopes,
    read_in_place,
    split_columns,
)
from mlpx.engines.native.library import load

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
SGD = Optimizer.resolve("sgd")


def names(operations: Sequence[Operation]) -> list[str]:
    return [operation.name for operation in operations]


def step(*layers: Any, rule: Optimizer = SGD) -> list[Operation]:
    return lowered(list(layers), rule)[0]


def test_a_plain_step_is_products_with_all_beside_them() -> None:
    found = fuse(step(7, Dense(6, activation="gelu"), Dense(5, activation="tanh"), 3))
    made = [name for name in names(found) if name not in ("weighted_mean", "correct", "record")]
    assert made == [
        *("gather", "layer", "layer", "layer", "softmax_loss"),  # the labels are gathered
        *("layer_back", "affine_dW", "column_sum", "layer_back", "affine_dW", "column_sum"),
        *("affine_dW", "column_sum", "rule_sgd"),
    ]


def test_what_is_joined_keeps_its_arrays_and_what_it_touches() -> None:
    apart = step(7, Dense(6, activation="gelu"), Dense(5, activation="tanh"), 3)
    together = fuse(apart)
    of = {name: [op for op in apart if op.name == name] for name in names(apart)}
    layers, backs = ([op for op in together if op.name == n] for n in ("layer", "layer_back"))
    for op, affine, activation in zip(layers, of["affine"], of["activation"], strict=True):
        assert op["W"] is affine["W"]
        for field in ("z", "y", "bias", "formula", "constants"):
            assert op[field] is activation[field] or op[field] == activation[field]
    for op, product, slope in zip(backs, of["affine_dx"], of["activation_back"], strict=True):
        assert (op["dz"], op["W"]) == (product["dz"], product["W"])
        for field in ("kept", "out", "formula", "constants"):
            assert op[field] is slope[field] or op[field] == slope[field]
    for op in (*layers, *backs):
        arrays = [a for a in op.p if isinstance(a, np.ndarray)]
        touched = [(a.start, a.stop) for a in op.touches]
        assert all((access(a).start, access(a).stop) in touched for a in arrays)


READ: dict[str, list[Any]] = {
    "by a product": [7, 3],
    "rescaled": [7, Rescale(0.5, -0.25), 3],
    "by a mask": [7, Dropout(0.2), 3],
    "by an activation": [7, "tanh", 3],
    "by a norm": [7, BatchNorm(), 3],
    "by a way around": [7, Residual([Dense(7)]), 3],
    "by a way around, rescaled": [7, Rescale(0.5), Residual([Dense(7)]), 3],
    "rescaled twice": [7, Rescale(0.5), Rescale(0.5), 3],
}
"""What reads the rows that were gathered, besides the first product."""


@pytest.mark.parametrize("name", READ)
def test_rows_that_something_else_reads_are_gathered(name: str) -> None:
    found = step(*READ[name])
    made = read_in_place(found)
    if name in ("by a product", "rescaled"):
        assert names(made) == [n for n in names(found)[1:] if n != "scale"]
        gather = next(op for op in found if op.name == "gather")
        for reader in (op for op in made if op.name in ("affine", "affine_dW")):
            assert reader["gathered"]
            x = reader["x"]
            assert (x["x"], x["indices"], x["rows"]) == (gather["x"], gather["indices"], 3)
            scaled = name == "rescaled"
            wanted = (True, 0.5, -0.25) if scaled else (False, 0.0, 0.0)
            assert (x["scaled"], x["scale"], x["offset"]) == wanted
            source, brought = access(gather["x"]), access(gather["out"], writes=True)
            assert any((a.start, a.stop) == (source.start, source.stop) for a in reader.touches)
            assert not any(a.overlaps(brought) for a in reader.touches)
    else:
        assert made == found


def operation(name: str, *, touches: tuple[Access, ...] = (), **fields: Any) -> Operation:
    """An operation that touches what it is given, and writes the last of its arrays."""
    arrays = [a for a in fields.values() if isinstance(a, np.ndarray)]
    touches = touches or tuple(access(a, writes=a is arrays[-1]) for a in arrays)
    return Operation.of(name, **fields, touches=touches)


def touching(*touches: Access) -> Operation:
    return Operation("", (), (), (), touches)


class Rows:
    """A gather, and a product that reads what it brings."""

    def __init__(self, out: np.ndarray, *, columns: int = 4) -> None:
        self.out, self.W, self.z = out, np.zeros((columns, 5)), np.zeros((3, 5))
        sizes = {"rows": 3, "columns": 4, "dtype": 1, "stride": 0, "swapped": False}
        x = np.zeros((9, 4))
        self.gather = operation("gather", **sizes, x=x, indices=np.arange(3), out=out)
        sizes = {"rows": 3, "inputs": columns, "outputs": 5}
        self.affine = operation("affine", **sizes, x=out, W=self.W, out=self.z)


def test_each_gather_is_for_the_products_before_the_next() -> None:
    """Those of the next part of a batch read other rows at the same place."""
    memory = np.zeros((3, 4))
    first, second = Rows(memory), Rows(memory)
    made = read_in_place([first.gather, first.affine, second.gather, second.affine])
    assert names(made) == ["affine", "affine"]
    assert [op["x"]["x"] for op in made] == [first.gather["x"], second.gather["x"]]
    mixed = [first.gather, first.affine, second.gather, second.affine, touching(access(memory))]
    assert names(read_in_place(mixed)) == ["affine", "gather", "affine", ""]


def test_a_product_that_reads_a_part_of_the_rows_or_reads_them_twice_is_left() -> None:
    memory = np.zeros((3, 4))
    part = Rows(memory, columns=2)
    assert read_in_place([part.gather, part.affine]) == [part.gather, part.affine]
    rows = Rows(memory)
    sizes = {"rows": 3, "inputs": 4, "outputs": 4}
    twice = operation("affine_dW", **sizes, x=memory, dz=memory, dW=np.zeros((4, 4)))
    twice = Operation(twice.name, twice.n, twice.c, twice.p, (*twice.touches, access(memory)))
    assert read_in_place([rows.gather, twice]) == [rows.gather, twice]
    behind = operation("affine", **sizes, x=memory[1:], W=np.zeros((4, 4)), out=np.zeros((3, 4)))
    assert read_in_place([rows.gather, behind]) == [rows.gather, behind]


def test_labels_and_rows_that_nothing_reads_stay_gathered() -> None:
    rows = Rows(np.zeros((3, 4)))
    assert read_in_place([rows.gather]) == [rows.gather]
    labels = rows.gather.replaced(dtype=10)
    assert read_in_place([labels, rows.affine]) == [labels, rows.affine]


def test_an_activation_is_joined_to_the_product_right_before_it() -> None:
    rows = Rows(np.zeros((3, 4)))
    other, y = np.zeros((3, 5)), np.zeros((3, 5))
    sizes = {"rows": 3, "columns": 5, "formula": 2, "biased": False, "constants": (), "bias": None}
    of_it, of_other = (operation("activation", **sizes, z=z, y=y) for z in (rows.z, other))
    (layer,) = join_activations([rows.affine, of_it])
    assert (layer.name, layer["z"], layer["y"], layer["bias"]) == ("layer", rows.z, y, None)
    assert not layer["gathered"]
    for left in (
        [rows.affine, of_other],
        [of_it, rows.affine],
        [rows.affine, touching(access(rows.z)), of_it],
        [touching(access(rows.z, writes=True)), of_it],
    ):
        assert join_activations(left) == left
    read, second = join_activations([rows.affine, of_it, of_it])
    assert (read.name, second) == ("layer", of_it)


class Back:
    """A product dx = dz W', and the slope that dx is multiplied by, of which nothing is joined."""

    def __init__(self, *, apart: bool) -> None:
        self.dz, self.W, self.dx = np.zeros((3, 5)), np.zeros((4, 5)), np.zeros((3, 4))
        self.kept = np.zeros((3, 4))
        self.out = np.zeros((3, 4)) if apart else self.dx
        sizes = {"rows": 3, "inputs": 4, "outputs": 5}
        self.product = operation("affine_dx", **sizes, dz=self.dz, W=self.W, dx=self.dx)
        self.slope = self.slope_of(self.dx)

    def slope_of(self, dy: np.ndarray) -> Operation:
        sizes = {"rows": 3, "columns": 4, "formula": 3, "constants": ()}
        touches = (access(dy), access(self.kept), access(self.out, writes=True))
        arrays = {"dy": dy, "kept": self.kept, "out": self.out}
        return operation("activation_back", **sizes, **arrays, touches=touches)


@pytest.mark.parametrize("apart", [False, True], ids=["in place", "apart"])
@pytest.mark.parametrize(
    ("array", "writes", "joined"),
    [
        (None, False, True),
        ("dz", False, True),
        ("dz", True, True),
        ("W", True, True),  # an update: the product comes before it as it did
        ("kept", False, True),
        ("kept", True, False),
        ("dx", False, False),
        ("dx", True, False),
        ("out", False, False),
        ("out", True, False),
    ],
)
def test_a_slope_is_joined_unless_something_between_needs_what_it_moves_over(
    array: str | None, writes: bool, joined: bool, apart: bool
) -> None:
    back = Back(apart=apart)
    between = [touching(access(getattr(back, array), writes=writes))] if array else []
    made = join_slopes([back.product, *between, back.slope])
    if not joined:
        assert made == [back.product, *between, back.slope]
        return
    assert names(made) == ["layer_back", *([""] if array else [])]
    assert (made[0]["kept"], made[0]["out"]) == (back.kept, back.out)
    assert (made[0]["dz"], made[0]["W"], made[0]["formula"]) == (back.dz, back.W, 3)
    reads, writes_to = ([a.start for a in made[0].touches if a.writes == w] for w in (0, 1))
    assert writes_to == [address(back.out)]
    assert set(reads) >= {address(a) for a in (back.dz, back.W, back.kept)}
    assert (address(back.dx) in reads) == (not apart)


def test_a_slope_is_not_joined_if_its_factor_is_read_again_or_is_another() -> None:
    back, other = Back(apart=True), Back(apart=True)
    again = touching(access(back.dx))
    for operations in (
        [back.product, back.slope, again],
        [back.product],
        [back.slope, back.product],
        [back.product, other.slope],
        [back.product, back.slope_of(back.dx[1:])],
        [back.product, operation("softmax_back", rows=3, columns=4, dy=back.dx, y=back.kept,
                                 out=back.out)],
    ):  # fmt: skip
        assert join_slopes(operations) == operations
    anew = touching(access(back.dx, writes=True))
    assert names(join_slopes([back.product, back.slope, anew])) == ["layer_back", ""]
    in_place = Back(apart=False)
    after = touching(access(in_place.dx))
    assert names(join_slopes([in_place.product, in_place.slope, after])) == ["layer_back", ""]


def test_ways_around_and_masks_keep_their_slopes_apart() -> None:
    """They need dx before it is multiplied by anything."""
    for name, joined in (("residual", 1), ("dropout", 0), ("rescale", 0), ("batch norm", 2)):
        made = names(fuse(step(*LAYERS[name])))
        assert made.count("layer_back") == joined, name


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "threads", "split"),
    [
        (1, 300, 300, 2, (True, True)),
        (47, 300, 300, 2, (True, True)),
        (48, 300, 300, 2, (False, False)),
        (48, 300, 300, 3, (True, True)),
        (1, 300, 300, 1, (False, False)),
        (1, 63, 1000, 2, (True, False)),
        (1, 64, 1000, 2, (True, True)),
        (1, 1000, 95, 3, (False, True)),
        (1, 240, 250, 2, (True, True)),
        (1, 240, 249, 2, (False, False)),
        (100, 512, 1024, 2, (False, False)),
        (100, 512, 1025, 2, (True, True)),
    ],
)
def test_few_rows_or_large_weights_are_split_by_columns(
    rows: int, inputs: int, outputs: int, threads: int, split: tuple[bool, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for limit, value in (("ROWS", 24), ("COLUMNS", 32), ("WEIGHTS", 60_000)):
        monkeypatch.setattr(fusing, f"LEAST_{limit}", value)
    monkeypatch.setattr(fusing, "LARGE_BYTES", 4 << 20)
    x, W, z = np.zeros((rows, inputs)), np.zeros((inputs, outputs)), np.zeros((rows, outputs))
    y, kept, out = np.zeros_like(z), np.zeros_like(x), np.zeros_like(x)
    bias, sizes = np.zeros(outputs), {"rows": rows, "inputs": inputs, "outputs": outputs}
    forward = {"x": x, "W": W, "bias": bias, "z": z, "y": y, "gathered": False, "formula": 1}
    back = {"dz": z, "W": W, "kept": kept, "out": out, "formula": 1}
    by_row = ("rows", rows)
    found = [
        operation("layer", **sizes, **forward, constants=(), touches=(
            access(x, division=by_row), access(W), access(bias),
            access(z, writes=True, division=by_row), access(y, writes=True, division=by_row))),
        operation("layer_back", **sizes, **back, constants=(), touches=(
            access(z, division=by_row), access(W), access(kept, division=by_row),
            access(out, writes=True, division=by_row))),
    ]  # fmt: skip
    made = split_columns(found, threads=threads)
    assert tuple(bool(op["split"]) for op in made) == split
    for before, op, width, divided in zip(
        found, made, (outputs, inputs), ([z, y], [kept, out]), strict=True
    ):
        if not op["split"]:
            assert op is before
            continue
        by_column = ("columns", rows, width)
        places = {address(a) for a in divided}
        assert division(op) == by_column
        for a in op.touches:
            assert a.division == (by_column if a.start in places else None)
        # The rows that it reads whole are made by row, and what it makes by column is read by row.
        reader = touching(access(divided[-1], division=by_row))
        maker = touching(access(x if op.name == "layer" else z, writes=True, division=by_row))
        assert [wait for _, wait in schedule([maker, op, reader])] == [True, True, True]
