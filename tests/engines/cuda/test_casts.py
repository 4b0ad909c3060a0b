"""Casts of factors to 16 bits: how often, when again, and what waits for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cudasim
import numpy as np
import pytest

from mlpx import MLP, BatchNorm, Dense, Dropout, LayerNorm, Optimizer, Rescale, Residual
from mlpx.engines.cuda.casts import MOST_BACKS, Casts
from mlpx.engines.cuda.graphs import needs
from mlpx.engines.cuda.runner import CudaRunner
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.operations import access

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]
HALVES = ["bf16", "fp16"]
DEEP = [
    9, Rescale(1 / 255), Dense(13, activation="relu"), Dropout(0.2),
    Dense(16, activation="gelu_tanh"), Dense(13, activation="tanh"), 5,
]  # fmt: skip
RICH = [
    9, BatchNorm(), Dense(12, activation="prelu"), Dropout(0.3), Residual([Dense(12)]),
    LayerNorm(), Dense(12, activation="gelu", penalty="l2"), Dense(7, "relu"), 5,
]  # fmt: skip


def fit(layers: list[Any], precision: str, **options: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """The losses of a training with a ragged last batch, its parameters, and what ran it."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, size=(52, 9)).astype(np.uint8)
    given = {"epochs": 2, "batch_size": 12, "optimizer": "adam", "verbose": 0} | options
    made: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        planned = CudaRunner.__init__
        patch.setattr(
            CudaRunner, "__init__", lambda self, *given: made.append(self) or planned(self, *given)
        )
        model = MLP(layers, device="cuda")
        history = model.fit(x, rng.integers(0, 5, size=52), precision=precision, **given)
    assert history.engine == "cuda", history.engine_reason
    return history.step_loss, model.backend.to_numpy(model.flat), made[0]


def operations(runner: Any) -> list[Operation]:
    return [operation for operation, _ in runner.replayer.launches[id(runner.program.full)]]


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("units", [(8,), (8, 13, 16)], ids=str)
def test_each_array_is_cast_once_a_step(precision: str, units: tuple[int, ...]) -> None:
    """x, W and dz of every layer, except the last W, which is in no product of cublasLt.

    With a cast per product it would be six a layer, two fewer for the first, four for the last.
    """
    layers = [9, *(Dense(count, "relu") for count in units), 5]
    found = operations(fit(layers, precision, epochs=1)[2])
    names = [operation.name for operation in found]
    assert names.count(f"to_{precision}") == 3 * (len(units) + 1) - 1
    assert names.count("scale_of") == (3 * (len(units) + 1) - 1 if precision == "fp16" else 0)
    casts = [operation for operation in found if operation.name == f"to_{precision}"]
    for field in ("x", "out"):
        assert len({address(cast[field]) for cast in casts}) == len(casts)


def test_other_precisions_cast_nothing() -> None:
    for precision in ("float32", "tf32"):
        runner = fit([9, 8, 5], precision, epochs=1)[2]
        assert not [o for o in operations(runner) if o.name.startswith(("to_", "scale_of"))]
        assert runner.planner.casts.kept == []


def test_products_of_square_matrices_stay_float32() -> None:
    runner = fit([9, 8, 5], "bf16", epochs=1, optimizer="muon")[2]
    squares = [operation for operation in operations(runner) if operation.name == "matrix_product"]
    assert squares
    assert all(runner.planner.casts.narrow(operation) is None for operation in squares)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize(
    ("layers", "options"),
    [
        (DEEP, {}),
        (RICH, {}),
        (RICH, {"optimizer": Optimizer.table["sgd"](accumulate=2)}),
        (DEEP, {"optimizer": "muon", "batch_size": 52}),
    ],
    ids=["deep", "rich", "accumulated", "muon"],
)
def test_bits_are_those_of_casts_before_every_product(
    precision: str, layers: list[Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = fit(layers, precision, **options)
    first = Casts._cast
    monkeypatch.setattr(
        Casts, "_cast", lambda self, matrix, op, valid, found: first(self, matrix, op, [], found)
    )
    every = fit(layers, precision, **options)
    casts = [
        sum(operation.name == f"to_{precision}" for operation in operations(runner))
        for *_, runner in (once, every)
    ]
    assert casts[1] > 1.5 * casts[0]
    for a, b in zip(once[:2], every[:2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", HALVES)
def test_products_that_cublaslt_does_not_do_take_their_factors_as_they_are(
    precision: str, fake_cupy: Any
) -> None:
    wanted = fit([9, Dense(13, "relu"), 5], "float32")[0]
    fake_cupy.cublaslt.unplanned = lambda shape: True
    losses, _, runner = fit([9, Dense(13, "relu"), 5], precision)
    assert any("it has no algorithm for it" in note for note in runner.notes)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)


def test_copies_have_room_and_count(fake_cupy: Any) -> None:
    """Each row is padded; the last, smaller batch shares the memory of the others."""
    runner = fit([9, Dense(13, "relu"), 5], "bf16", epochs=1)[2]
    sizes = sorted(array.size for array in runner.planner.casts.kept)
    rows = [(12, 16), (9, 16), (12, 16), (12, 8), (12, 16)]  # x, W, h, dz, dz
    assert sizes == sorted(n * padded for n, padded in rows)
    runner.planner.casts.kept.append(np.zeros(1000, np.uint8))
    with_more = runner.nbytes
    runner.planner.casts.kept.pop()
    assert with_more - runner.nbytes == 1000
    scales = fit([9, Dense(13, "relu"), 5], "fp16", epochs=1)[2].planner.casts.kept
    # One for each array; and for each of three products in two plans the factor and the zero.
    assert sorted(a.size for a in scales if a.dtype == np.float32) == [1] * 5 + [2] * 6


def test_weights_are_cast_beside_what_comes_before_their_product() -> None:
    for precision in HALVES:
        found = operations(fit([9, 13, 14, 5], precision, epochs=1)[2])
        waits = needs(found)
        weights = [i for i, o in enumerate(found) if o.name == f"to_{precision}"][0:4:2]
        assert [(found[i]["rows"], found[i]["columns"]) for i in weights] == [(9, 13), (13, 14)]
        for i in weights:
            assert all(found[j].name == "scale_of" and not waits[j] for j in waits[i])


def made_casts(precision: str) -> Casts:
    empty = SimpleNamespace(zeros=lambda n: np.zeros(n, np.float32), empty=np.empty)
    return Casts(empty, precision)


def affine(x: np.ndarray, W: np.ndarray, z: np.ndarray) -> Operation:
    touches = (access(x), access(W), access(z, writes=True))
    rows, inputs, outputs = *x.shape, W.shape[1]
    sizes = {"rows": rows, "inputs": inputs, "outputs": outputs}
    return Operation.of("affine", **sizes, x=x, W=W, out=z, touches=touches)


def behind(waits: list[list[int]]) -> list[set[int]]:
    """All operations that precede each one, given those that it waits for directly."""
    found: list[set[int]] = []
    for direct in waits:
        found.append(set(direct).union(*(found[j] for j in direct)))
    return found


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("precision", HALVES)
def test_what_is_written_between_two_products_is_cast_again(precision: str) -> None:
    """Into the same memory, after the product that reads it is done."""
    x, W, z = f32(6, 4), f32(4, 5), f32(6, 5)
    part = x[5:]
    rewrite = Operation("scale", (1, 4), (), (part, part), (access(part, writes=True),))
    read = Operation("scale", (1, 4), (), (part, z), (access(part), access(z, writes=True)))
    for between, again in ((rewrite, True), (read, False)):
        found = made_casts(precision).put_into([affine(x, W, z), between, affine(x, W, f32(6, 5))])
        casts = [i for i, o in enumerate(found) if o.name.startswith("to_")]
        sources = [address(found[i]["x"]) for i in casts]
        assert sources == [address(W), address(x), *([address(x)] if again else [])]
        products = [i for i, o in enumerate(found) if o.name == "affine"]
        before = behind(needs(found))
        assert casts[1] in before[products[0]]
        if again:
            assert found[casts[1]]["out"] is found[casts[2]]["out"]
            assert products[0] in before[casts[2]]
            assert casts[2] in before[products[1]]


@pytest.mark.parametrize("precision", HALVES)
def test_memory_that_holds_fewer_rows_is_written_anew(precision: str) -> None:
    x, W, z = f32(6, 4), f32(4, 5), f32(6, 5)
    few, other = x[:2], f32(2, 5)
    casts = made_casts(precision)
    found = casts.put_into([affine(x, W, z), affine(few, W, other), affine(x, W, z)])
    made = [o for o in found if o.name.startswith("to_") and address(o["x"]) == address(x)]
    assert [o["rows"] for o in made] == [6, 2, 6]
    assert len({id(o["out"]) for o in made}) == 1
    more = [affine(few, W, other), affine(x, W, z)]
    casts = made_casts(precision)
    found = casts.put_into(more)
    assert [o["out"].size for o in found if o.name.startswith("to_")] == [4 * 8, 2 * 8, 6 * 8]


@pytest.mark.parametrize("products", [1, MOST_BACKS, MOST_BACKS + 1])
def test_each_product_has_what_it_is_multiplied_by(products: int) -> None:
    """Computed with the scale of the factor cast last, for up to MOST_BACKS products at once."""
    x, W, dz = [f32(6, 4) for _ in range(products)], f32(4, 5), f32(6, 5)
    casts = made_casts("fp16")
    first = [affine(each, W, f32(6, 5)) for each in x]
    dW = [
        Operation("affine_dW", (6, 4, 5), (), (each, dz, f32(4, 5)), (access(each), access(dz)))
        for each in x
    ]
    found = casts.put_into([*first, *dW])
    scalings = [o for o in found if o.name == "scale_of"]
    backs: dict[int, tuple[Any, Any]] = {}
    for o in scalings:
        assert len(o["others"]) == 2 * o["products"] <= 2 * MOST_BACKS
        for other, back in zip(o["others"][::2], o["others"][1::2], strict=True):
            assert id(back) not in backs
            backs[id(back)] = (o["scale"], other)
            assert access(other) in o.touches
            assert access(back, writes=True) in o.touches
    scale_of = {address(o["x"]): o["scale"] for o in scalings}
    multiplied = [o for o in found if o.name.startswith("affine")]
    assert len(multiplied) == len(backs) == 2 * products
    for o in multiplied:
        pair = {id(scale) for scale in backs[id(o["back"])]}
        assert pair == {id(scale_of[address(array)]) for array in o.p[:2]}
        assert access(o["back"]) in o.touches
        narrow = casts.narrow(o)
        assert narrow is not None
        assert narrow.back == address(o["back"])
    of_dz = sum(address(o["x"]) == address(dz) for o in scalings)
    assert of_dz == 1 + (products > MOST_BACKS)
