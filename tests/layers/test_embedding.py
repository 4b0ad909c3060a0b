"""Embeddings: against loops, how they start, which codes and edges they take, and in training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import layers as reference
from stepping import Step

from mlpx import (
    MLP,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Optimizer,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Residual,
    initialise_by_data,
)
from mlpx.errors import InputError, InputTypeError
from mlpx.kernels import embedding
from mlpx.network.architecture import codes_of, specify

SIZES = (5, 3, 40)
EDGES = ((-1.0, 0.0, 0.5, 2.0), (-0.3, 0.3), (-1e3, -1e2, 1e3))


def table(n: int = 30, numbers: int = 3, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Numbers, then codes."""
    rng = np.random.default_rng(n)
    codes = rng.integers(0, sizes, size=(n, len(sizes)))
    return np.hstack([rng.normal(size=(n, numbers)), codes])


def labels(n: int = 30) -> np.ndarray:
    return np.random.default_rng(n + 1).integers(0, 3, size=n)


def output(layer: Layer, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What the layer makes of x, and its parameters."""
    step = Step(MLP([x.shape[1], layer, 3], dtype="float64"), x, labels(len(x)))
    step.loss()
    named = step.model.parameters.items()
    own = {name.removeprefix("0."): p for name, p in named if name.startswith("0.")}
    return step.sites[1].kept["x"], own


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("numbers", [0, 3])
def test_codes_become_rows(width: int, numbers: int) -> None:
    x = table(numbers=numbers)
    y, own = output(Embedding(SIZES, width), x)
    np.testing.assert_array_equal(y, reference.embedding(x, own["E"], SIZES))


@pytest.mark.parametrize(("width", "waves"), [(2, 1), (4, 16), (9, 20)])
def test_waves(width: int, waves: int) -> None:
    x = table()
    y, p = output(PeriodicEmbedding(2, waves, width, std=0.7), x)
    wanted = reference.periodic_embedding(x, p["w"], p["b"], p["V"], p["c"])
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", [1, 16])
def test_pieces(width: int) -> None:
    x = table() * 2
    x[:4, 0] = EDGES[0]
    y, p = output(PiecewiseLinearEmbedding(EDGES, width), x)
    wanted = reference.piecewise_linear_embedding(x, p["V"], p["c"], EDGES)
    np.testing.assert_allclose(y, wanted, rtol=1e-13, atol=1e-13)


def test_only_known_codes_start_with_something_to_say() -> None:
    E = MLP([3, Embedding((500, 2, 300), 20), 2], dtype="float64").parameters["0.E"]
    assert (E[[0, 500, 502]] == 0).all()
    rest = np.delete(E, [0, 500, 502], axis=0)
    assert (abs(rest).min(axis=1) > 0).all()
    assert abs(rest.mean()) < 0.03
    assert rest.std() == pytest.approx(1, rel=0.02)


def test_waves_start_as_their_authors_have_them() -> None:
    p = MLP([40, PeriodicEmbedding(40, 64, 30, std=0.3), 2], dtype="float64").parameters
    assert p["0.w"].std() == pytest.approx(0.3, rel=0.05)
    for name, bound in {"b": math.pi, "V": 1 / 8, "c": 1 / 8}.items():
        assert 0.98 * bound < abs(p[f"0.{name}"]).max() <= bound
        assert p[f"0.{name}"].std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_pieces_start_by_the_bins_of_their_column() -> None:
    edges = (tuple(range(101)), (0.0, 1.0, 2.0, 3.0, 4.0))
    p = MLP([2, PiecewiseLinearEmbedding(edges, 50), 2], dtype="float64").parameters
    V, c = p["0.V"], p["0.c"]
    for part, bound in ((V[:100], 0.1), (V[100:], 0.5), (c[:1], 0.1), (c[1:], 0.5)):
        assert 0.9 * bound < abs(part).max() <= bound


def test_codes_that_no_row_has_are_not_moved() -> None:
    x = table(sizes=(5, 3, 400))
    model = MLP([6, Embedding((5, 3, 400)), 8, 3])
    before = model.parameters["0.E"].copy()
    model.fit(x, labels(), epochs=2, batch_size=7, optimizer="sgd", verbose=0)
    there = np.zeros(408, bool)
    for f, start in enumerate((0, 5, 8)):
        there[start + x[:, 3 + f].astype(int)] = True
    moved = (model.parameters["0.E"] != before).any(axis=1)
    np.testing.assert_array_equal(moved, there)


def test_array_kernels_of_many_codes_and_of_odd_ones() -> None:
    """More codes than are compared at a time; what is no code is taken for the nearest."""
    sizes, width = (3, 150), 2
    x = table(80, numbers=1, sizes=sizes)
    x[:5, 2] = [np.nan, -4.0, 1e9, np.inf, 7.9]
    taken = x.copy()
    taken[:5, 2] = [0, 0, 149, 149, 7]
    step = Step(MLP([3, Embedding(sizes, width), 3], dtype="float64"), x, labels(80))
    step.gradients()
    E = step.model.parameters["0.E"]
    wanted = reference.embedding(taken, E, sizes)
    np.testing.assert_array_equal(step.sites[1].kept["x"], wanted)
    (call,) = (c for c in step.plan.calls if c.kernel is embedding.look_up_backward)
    dy, dE = call.arguments[0], np.zeros(E.shape)
    for row, dline in zip(taken, dy, strict=True):
        for f, start in enumerate((0, 3)):
            dE[start + int(row[1 + f])] += dline[1 + f * width :][:width]
    np.testing.assert_allclose(call.keywords["dE"], dE, rtol=1e-13, atol=1e-18)


def test_rows_of_the_same_code_count_together() -> None:
    """Far more rows than codes: the gradient is a sum, and the same whatever their order."""
    x, y = table(2000, 0, (3,)), labels(2000)
    step = Step(MLP([1, Embedding((3,), 2), 3], dtype="float64"), x, y)
    again = Step(MLP([1, Embedding((3,), 2), 3], dtype="float64"), x[::-1].copy(), y[::-1].copy())
    first, second = (each.gradients()["0.E"] for each in (step, again))
    assert (abs(first) > 1e-4).all()
    np.testing.assert_allclose(second, first, rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, -1.0, 4.0, 1.5, np.inf, -0.5])
@pytest.mark.parametrize("before", [(), (PeriodicEmbedding(2),)])
def test_what_is_no_code_is_refused_wherever_x_is_given(
    before: tuple[Layer, ...], value: float, tmp_path: Path
) -> None:
    model = MLP([4, *before, Embedding((3, 4)), 5, 3])
    good, y = table(sizes=(3, 4), numbers=2), labels()
    bad = good.copy()
    bad[17, 3] = value
    held_out = {"validation_data": (bad, y)}
    for call in (
        lambda: model.fit(bad, y, epochs=1, verbose=0),
        lambda: model.fit(bad, y, epochs=1, verbose=0, check_finite=False),
        lambda: model.fit(good, y, epochs=1, verbose=0, **held_out),
        lambda: model.evaluate(bad, y),
        lambda: model.predict(bad),
        lambda: model.predict_proba(bad),
        lambda: model.predict_logits(bad),
        lambda: initialise_by_data(model, bad),
    ):
        with pytest.raises(InputError, match=r"x has \S+ at row 17, column 3.*wanted"):
            call()
    with pytest.raises(InputError, match=r"column 3, which holds codes; wanted .* from 0 to 3"):
        model.fit(bad, y, epochs=1, verbose=0, check_finite=False)
    model.predict(good)
    initialise_by_data(model, good)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "int8", "bool"])
def test_codes_of_any_dtype(dtype: str) -> None:
    x = table(numbers=0, sizes=(2, 2)).astype(dtype)
    model = MLP([2, Embedding((2, 2)), 3])
    wanted = model.predict_logits(x.astype("float64"))
    np.testing.assert_array_equal(model.predict_logits(x), wanted)
    if dtype != "bool":
        x[5, 1] = 2
        with pytest.raises(InputError, match="x has 2 at row 5, column 1"):
            model.predict(x)


def test_a_wrong_code_far_down_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.inputs.codes.CHUNK_ELEMENTS", 8)
    x = table(sizes=(3, 4))
    x[29, 4] = 4
    with pytest.raises(InputError, match="row 29, column 4"):
        MLP([5, Embedding((3, 4)), 3]).predict(x)


def test_codes_are_known_on_a_device(fake_cupy: Any) -> None:
    model, x, y = MLP([6, Embedding(SIZES), 3], device="cuda"), table(), labels()
    model.fit(model.backend.asarray(x), y, epochs=1, verbose=0)
    x[3, 5] = 40
    for given in (x, model.backend.asarray(x)):
        with pytest.raises(InputError, match="x has 40 at row 3, column 5"):
            model.fit(given, y, epochs=1, verbose=0)
        with pytest.raises(InputError, match="x has 40 at row 3, column 5"):
            model.predict(given)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([5, Embedding((3, 4)), 2], (3, 4)),
        ([5, PeriodicEmbedding(3), Embedding((3, 4)), 2], (3, 4)),
        ([5, PiecewiseLinearEmbedding(((0, 1),)), PeriodicEmbedding(2), Embedding((3,)), 2], (3,)),
        ([5, PeriodicEmbedding(4), Embedding((3, 4)), 2], (4,)),  # the other is no column of x
        ([5, PeriodicEmbedding(5), Embedding((3, 4)), 2], ()),
        ([5, 6, Embedding((3, 4)), 2], ()),
        ([5, Dropout(), Embedding((3, 4)), 2], ()),
        ([5, Residual([Embedding((3,), 1)]), 2], ()),
        ([5, 2], ()),
    ],
)
def test_where_x_has_codes(layers: list[Any], wanted: tuple[int, ...]) -> None:
    assert codes_of(*specify(layers, "relu", None)) == wanted


BAD = [
    (lambda: Embedding(()), InputError, "sizes is empty; wanted an entry for each column"),
    (lambda: Embedding((3, 0)), InputError, r"sizes\[1\] = 0; it must be at least 1"),
    (lambda: Embedding((2.5,)), InputTypeError, r"sizes\[0\] = 2.5 is a float"),
    (lambda: Embedding((2**24 + 1,)), InputError, r"at most 2\*\*24"),
    (lambda: Embedding(3), InputTypeError, "sizes = 3; wanted an entry for each column"),
    (lambda: Embedding((3,), 0), InputError, "width = 0; it must be at least 1"),
    (lambda: PeriodicEmbedding(0), InputError, "columns = 0; it must be at least 1"),
    (lambda: PeriodicEmbedding(1, 0), InputError, "frequencies = 0; it must be at least 1"),
    (lambda: PeriodicEmbedding(1, width=1), InputError, "width = 1; it must be at least 2"),
    (lambda: PeriodicEmbedding(1, std=-0.1), InputError, r"std = -0.1; it must be in \[0, inf\)"),
    (lambda: PiecewiseLinearEmbedding([]), InputError, "edges is empty"),
    (lambda: PiecewiseLinearEmbedding(((1,),)), InputError, r"edges\[0\] has one edge, 1"),
    (
        lambda: PiecewiseLinearEmbedding((range(65538),)),
        InputError,
        "has 65,538 edges; at most 65,537",
    ),
    (lambda: PiecewiseLinearEmbedding((0, 1)), InputTypeError, r"edges\[0\] = 0; wanted"),
    (
        lambda: PiecewiseLinearEmbedding(((0, 1), (0, 2, 2))),
        InputError,
        r"edges\[1\]\[2\] = 2 after 2; edges must increase",
    ),
    (
        lambda: PiecewiseLinearEmbedding(((1.0, 1.0 + 1e-12),)),
        InputError,
        r"edges\[0\]\[1\] = 1.0.* after 1.0; edges must increase, in float32 too",
    ),
    (lambda: PiecewiseLinearEmbedding(((0, 1e39),)), InputError, r"edges\[0\]\[1\] = 1e"),
    (lambda: PiecewiseLinearEmbedding(((-3e38, 3e38),)), InputError, "must increase, in float32"),
    (lambda: PiecewiseLinearEmbedding(((0, 1e-42),)), InputError, "must increase, in float32"),
    (
        lambda: PiecewiseLinearEmbedding(((-3.1e38, -3e38, 3e38),)),
        InputError,
        r"edges\[0\]\[2\] = 3e\+38 after -3e\+38",
    ),
    (lambda: PiecewiseLinearEmbedding(((0, 10**400),)), InputError, "it must be in"),
    (lambda: PiecewiseLinearEmbedding(((0, np.nan),)), InputError, r"edges\[0\]\[1\] = nan"),
    (lambda: PiecewiseLinearEmbedding((("0", 1),)), InputTypeError, r"edges\[0\]\[0\] = '0'"),
    (
        lambda: MLP([2, Embedding((3, 4, 5)), 2]),
        InputError,
        "embedding is for 3 columns; the layer gets 2",
    ),
    (lambda: MLP([2, PeriodicEmbedding(3), 2]), InputError, "is for 3 columns; the layer gets 2"),
    (
        lambda: MLP([1, PiecewiseLinearEmbedding(((0, 1), (0, 1))), 2]),
        InputError,
        "is for 2 columns; the layer gets 1",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD)
def test_refused(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_numbers_of_numpy_are_taken() -> None:
    assert Embedding(np.array([3, 4]), np.int64(2)) == Embedding((3, 4), 2)
    assert PeriodicEmbedding(np.int64(2)) == PeriodicEmbedding(2)
    edges = [np.quantile([0.0, 1.0, 2.0], [0, 0.5, 1])]
    assert PiecewiseLinearEmbedding(edges) == PiecewiseLinearEmbedding(((0.0, 1.0, 2.0),))


ALL = [
    6,
    PiecewiseLinearEmbedding(EDGES[:1], 3),
    PeriodicEmbedding(5, 4),
    Embedding(SIZES),
    Dense(12, activation="relu"),
    3,
]


def test_saved_and_loaded(tmp_path: Path) -> None:
    x, y = table(), labels()
    model = MLP(ALL)
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model")
    loaded = MLP.load(tmp_path / "model")
    assert loaded.layers == model.layers
    np.testing.assert_array_equal(loaded.predict_logits(x), model.predict_logits(x))
    with pytest.raises(InputError, match="holds codes"):
        loaded.predict(x + 0.5)


@pytest.mark.parametrize("rule", ["muon", "lamb", "adamw", "lion"])
def test_every_kind_of_optimizer_moves_them(rule: str) -> None:
    model, x, y = MLP(ALL, dtype="float64"), table(), labels()
    before = {name: p.copy() for name, p in model.parameters.items()}
    options = {"accumulate": 2, "rate_multipliers": {"1": 0.0}}
    model.fit(x, y, epochs=2, batch_size=10, optimizer=Optimizer.table[rule](**options), verbose=0)
    still = {name for name, p in model.parameters.items() if np.array_equal(p, before[name])}
    assert still == {"1.w", "1.b", "1.V", "1.c"}
    assert np.isfinite(model.flat).all()


def test_the_profile_has_them_as_parts() -> None:
    from mlpx.engines.profile import profile

    names = [part.name for part in profile(MLP(ALL), table(), labels(), steps=1).parts]
    for kernel in ("look_up", "look_up_backward", "waves", "waves_backward", "pieces"):
        assert any(name.endswith(kernel) for name in names), names


def test_what_only_codes_tell_is_learnt() -> None:
    """The class is that of the code, in an order that no line has."""
    x = table(400, numbers=1, sizes=(30,))
    y = np.random.default_rng(3).integers(0, 3, size=30)[x[:, 1].astype(int)]
    model = MLP([2, Embedding((30,)), 3])
    model.fit(x, y, epochs=30, optimizer="adam", learning_rate=0.05, verbose=0)
    assert model.evaluate(x, y)["accuracy"] == 1


@pytest.mark.parametrize(
    "layer",
    [
        PeriodicEmbedding(1, std=1.0),
        PiecewiseLinearEmbedding((tuple(np.linspace(-1, 1, 13)),), 8),
    ],
    ids=lambda layer: layer.name,
)
def test_a_rough_function_is_learnt(layer: Layer) -> None:
    """A linear model on top of it fits six stripes."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(600, 1))
    y = (np.floor(x[:, 0] * 3) % 2).astype(int)
    model = MLP([1, layer, LayerNorm(), 2])
    model.fit(x, y, epochs=60, optimizer="adam", learning_rate=0.03, verbose=0)
    assert model.evaluate(x, y)["accuracy"] > 0.9
