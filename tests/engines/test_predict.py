"""Prediction: the native forward pass gives what the interpreter gives, whatever x looks like."""

from __future__ import annotations

import copy
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Dense, LayerNorm, Rescale, Residual
from mlpx.engines import predictor, threads
from mlpx.engines.native import NativeEngine
from mlpx.engines.native import prediction as native
from mlpx.engines.native.prediction import NativePredictor
from mlpx.engines.predict import ForwardProgram, chunks
from mlpx.errors import InputError
from mlpx.types import Array

needs_native = pytest.mark.skipif(
    NativeEngine().missing() is not None, reason="the native library was not built here"
)
pytestmark = needs_native


def make(d_in: int = 7, *, dtype: str = "float32", seed: int = 0, **options: Any) -> MLP:
    layers = [d_in, Dense(16, activation="tanh"), Dense(9, activation="gelu"), 3]
    return MLP(layers, dtype=dtype, seed=seed, **options)


def interpreted(model: MLP, x: np.ndarray) -> Array:
    """The outputs, by the interpreter, in one chunk."""
    return ForwardProgram(model, rows=len(x)).run(x).copy()


def rows(n: int, d: int = 7, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(n).normal(size=(n, d)) * 20).astype(dtype)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Use this many threads for any amount of work, in chunks of at most 32 rows."""
    monkeypatch.setattr(native, "usable_cores", lambda: request.param)
    monkeypatch.setattr(native, "WORK_FOR_THREADS", 0)
    monkeypatch.setattr(native, "MOST_ROWS", 32)
    return int(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_after_many(dtype: str) -> None:
    """Each number of rows has operations of its own, on the same memory."""
    model = MLP([784, 16, 2], dtype=dtype)
    for n in (2000, 60, 1, 2000, 7):
        x = rows(n, d=784, dtype=dtype)
        np.testing.assert_allclose(
            model.predict_logits(x), interpreted(model, x), rtol=1e-4, atol=1e-4
        )


READ_IN_PLACE: dict[str, tuple[list[Any], bool]] = {
    "fewer numbers": ([8, 4, 2], True),
    "more": ([8, 9, 2], True),
    "activated": ([8, Dense(4, activation="tanh"), 2], True),
    "without a bias": ([8, Dense(4, bias=False), 2], True),
    "scaled first": ([8, Rescale(0.5, 0.25), 4, 2], True),
    "scaled and without a bias": ([8, Rescale(0.5, 0.25), Dense(4, bias=False), 2], True),
    "read again later": ([8, Residual([Dense(4), Dense(8)]), 2], False),
    "activated first": ([8, "tanh", 4, 2], False),
    "normalised first": ([8, LayerNorm(), 4, 2], False),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">f4"])
@pytest.mark.parametrize("case", READ_IN_PLACE)
def test_rows_are_read_in_place_where_only_a_product_reads_them(case: str, dtype: str) -> None:
    layers, in_place = READ_IN_PLACE[case]
    model, x = MLP(layers), np.abs(rows(50, d=8)).astype(dtype)
    forward = NativePredictor(model)
    chunk = forward._teams[0].lanes[0].chunk(50, x.dtype, classes=False)
    names = [operation.name for operation, _ in chunk.kept]
    assert ("gather" not in names) == in_place
    found, finite = forward.run(x, classes=False, rows=50)
    assert finite
    np.testing.assert_allclose(found, interpreted(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", READ_IN_PLACE)
def test_what_is_not_finite_is_seen(case: str) -> None:
    """By the first sums, or number by number where there are none; all of a long row."""
    layers, _ = READ_IN_PLACE[case]
    for d, j, bias in ((8, 7, True), (1100, 0, True), (1100, 1099, True), (1100, 1099, False)):
        wide = [d, Dense(8, bias=bias), *layers[1:]] if d > 8 else layers
        forward, x = NativePredictor(MLP(wide)), np.full((5, d), np.nan)[1:4]
        x[...] = rows(3, d=d, dtype="float64")  # what is around them is not looked at
        for value, finite in ((np.nan, False), (np.inf, False), (3.5e38, False), (1e37, True)):
            x[1, j] = value
            assert forward.run(x, classes=False, rows=3)[1] == finite


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_rows(n: int, dtype: str, workers: int) -> None:
    model, x = make(dtype=dtype), rows(n)
    z = interpreted(model, x)
    bound = 1e-12 if dtype == "float64" else 2e-6
    for _ in range(2):  # the second time on kept memory
        np.testing.assert_allclose(model.predict_logits(x), z, rtol=bound, atol=bound)
        assert np.array_equal(model.predict(x), z.argmax(axis=1))


DTYPES = ["float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64"]
DTYPES += ["uint64", "bool", ">f4", ">f8", ">i2", "<f4"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3, 70])
def test_any_dtype(dtype: str, n: int, workers: int) -> None:
    model, x = make(), np.abs(rows(n)).astype(dtype)
    z = interpreted(model, x)
    np.testing.assert_allclose(model.predict_logits(x), z, rtol=1e-5, atol=1e-5)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "by column": np.asfortranarray(x),
        "every other row": np.repeat(x, 2, axis=0)[::2],
        "backwards": x[::-1].copy()[::-1],
        "some columns": np.hstack([x, x])[:, : x.shape[1]],
        "unaligned": shifted,
        "read-only": frozen,
        "one row repeated": np.broadcast_to(x[:1], x.shape),
    }


@pytest.mark.parametrize("layout", list(layouts(rows(1))))
@pytest.mark.parametrize("n", [1, 100])
def test_any_layout(layout: str, n: int, workers: int) -> None:
    model, x = make(), layouts(rows(n))[layout]
    z = interpreted(model, np.ascontiguousarray(x))
    np.testing.assert_allclose(model.predict_logits(x), z, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(model.predict_logits(x, batch_size=9), z, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize(("n", "row"), [(1, 0), (50, 49), (100, 0), (100, 63), (101, 100)])
def test_numbers_that_are_not_finite_are_refused(
    value: float, n: int, row: int, workers: int
) -> None:
    model, x = make(), rows(n, dtype="float64")
    x[row, 3] = value
    for asked in (model.predict, model.predict_logits, model.predict_proba):
        with pytest.raises(InputError, match=f"row {row}, column 3"):
            asked(x)
    x[row, 3] = 1.0
    model.predict(x)  # what was found is forgotten


def test_the_parameters_are_those_of_the_moment() -> None:
    model, x = make(), rows(5)
    before = model.predict_logits(x)
    model.set_parameters({"2.b": np.full(3, 7.0)})
    np.testing.assert_allclose(model.predict_logits(x) - before, 7, rtol=1e-4)
    model.flat = model.flat * 0
    assert not model.predict_logits(x).any()


def test_a_copy_predicts_by_its_own_parameters() -> None:
    model, x = make(), rows(5)
    model.predict(x)
    other = copy.deepcopy(model)
    other.flat[...] = 0
    assert not other.predict_logits(x).any()
    assert model.predict_logits(x).any()


def test_what_comes_back_is_the_callers_own() -> None:
    model = make()
    first, second = rows(1), rows(2)[:1]
    kept = model.predict_logits(first)
    before = kept.copy()
    model.predict_logits(second)
    assert np.array_equal(kept, before)


def test_many_threads_at_a_time() -> None:
    model = make()
    given = [rows(n) for n in (1, 2, 3, 40, 300, 2000)]
    wanted = [model.predict_logits(x) for x in given]
    wrong: list[int] = []

    def work(offset: int) -> None:
        for i in range(60):
            which = (i + offset) % len(given)
            if not np.array_equal(model.predict_logits(given[which]), wanted[which]):
                wrong.append(which)

    running = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong


def test_nothing_is_left_behind_by_a_prediction() -> None:
    model, x = make(), rows(1)
    model.predict(x)
    tracemalloc.start()
    try:
        model.predict(x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            model.predict(x)
        assert tracemalloc.get_traced_memory()[0] - before < 500
    finally:
        tracemalloc.stop()


def test_what_a_prediction_allocates_serves_the_next(workers: int) -> None:
    forward, x = NativePredictor(make()), rows(1000)
    forward.run(x, classes=True, rows=1000)
    (team,) = forward._teams
    lanes = set(team.lanes)
    assert len(lanes) == workers
    for n in (1000, 1, 500):
        forward.run(x[:n], classes=True, rows=1000)
        assert forward._teams == [team]
        assert set(team.lanes) == lanes


def test_calls_of_any_number_of_rows_keep_so_many_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest makes room, and does nothing to one that is still in use."""
    monkeypatch.setattr(native, "MOST_CHUNKS", 3)
    model, x = MLP([4, 3]), np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    expected = model.predict_logits(x)
    kept = model.kept.predictor._teams[0].lanes[0]._chunks
    for _ in range(2):
        for n in range(1, 10):
            np.testing.assert_allclose(model.predict_logits(x[:n]), expected[:n], rtol=1e-6)
            assert len(kept) <= 3
    assert len(kept) == 3


def test_memory_is_a_chunk_and_the_results(workers: int) -> None:
    """However many rows there are, x is never copied as a whole."""
    model, x = make(200), rows(20_000, 200, "uint8")
    model.predict(x[:1000])
    tracemalloc.start()
    try:
        model.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(x) + 500_000  # the classes, and some chunks


def test_threads_of_the_blas_are_put_back() -> None:
    model, before = make(), [c.num_threads for c in threads.controllers()]
    model.predict(rows(500))
    assert [c.num_threads for c in threads.controllers()] == before


def test_one_row_asks_for_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the network is."""
    model, asked = make(), []
    assert predictor(model) is not None
    model.predict(rows(1))
    monkeypatch.setattr(native, "WORK_FOR_THREADS", 0)
    monkeypatch.setattr(native, "usable_cores", lambda: asked.append("usable") or 1)
    model.predict(rows(1))
    assert asked == []
    model.predict(rows(2))
    assert asked == ["usable"]


LARGE: dict[str, list[Any]] = {
    "products only": [300, Dense(258, activation="tanh"), Dense(260, activation="gelu"), 3],
    "normalised first": [300, LayerNorm(), Dense(258), LayerNorm(), "relu", 3],
}


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", LARGE)
def test_of_few_rows_threads_divide_the_columns(
    case: str, dtype: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of large products; no bit of the results shows how many threads were awake."""
    model, x = MLP(LARGE[case], dtype=dtype, seed=1), rows(n, 300, dtype)
    monkeypatch.setattr(native, "WORK_FOR_THREADS", 0)
    monkeypatch.setattr(native, "usable_cores", lambda: 2)
    (team,) = NativePredictor(model)._teams
    lane = team.lanes[0]
    two, one = (lane.chunk(n, x.dtype, classes=False, threads=count) for count in (2, 1))
    assert (two.threads, one.threads) == (2, 1)
    assert any(wait for _, wait in two.kept[1:])
    wanted = one.run(x)
    limit = 100 * float(np.finfo(dtype).eps)  # for sums of 300 numbers of about 1 / 300
    np.testing.assert_allclose(wanted, interpreted(model, x), rtol=limit, atol=limit)
    predictor = NativePredictor(model)
    for pause in (0, 0, 0, 1e-3, 0, 0):  # in a pause threads go to sleep
        time.sleep(pause)
        found, finite = predictor.run(x, classes=False, rows=100)
        assert finite
        assert found.tobytes() == wanted.tobytes()
    assert predictor._teams[0].predict.__self__.threads == 2
    for i in range(n):
        bad = x.copy()
        bad[i, 299] = np.inf
        assert not predictor.run(bad, classes=False, rows=100)[1]


def test_threads_that_sleep_are_not_missed(workers: int) -> None:
    """Called again at once or after a while, in chunks that few or all threads come to take."""
    model, x = make(), rows(200)
    wanted = model.predict_logits(x)
    for i in range(600):
        time.sleep(1e-5 * (i % 7))
        assert model.predict_logits(x).tobytes() == wanted.tobytes()


def test_a_part_that_the_library_has_not_got_is_interpreted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = make(), rows(50)
    wanted = model.predict_logits(x)
    monkeypatch.setattr(NativeEngine, "missing", lambda _: "not built")
    model.kept = None
    assert predictor(model) is None
    np.testing.assert_allclose(model.predict_logits(x), wanted, rtol=2e-6, atol=2e-6)
    assert np.array_equal(model.predict(x), wanted.argmax(axis=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["native", "interpreter", "cuda"])
def test_no_rows_give_no_rows(
    engine: str, dtype: str, monkeypatch: pytest.MonkeyPatch, fake_cupy: Any
) -> None:
    """With the shape and dtype that one row would give."""
    if engine == "interpreter":
        monkeypatch.setattr(NativeEngine, "missing", lambda _: "not built")
    device = "cuda" if engine == "cuda" else "cpu"
    for loss, k in ((None, 3), ("binary_cross_entropy", 1), ("binary_cross_entropy", 3),
                    ("mean_squared_error", 2)):  # fmt: skip
        model = MLP([7, 4, k], loss=loss or "softmax_cross_entropy", dtype=dtype, device=device)
        asked = [model.predict, model.predict_logits]
        if loss != "mean_squared_error":
            asked.append(model.predict_proba)
        for ask in asked:
            one, none = ask(rows(1, dtype=dtype)), ask(rows(1, dtype=dtype)[:0])
            assert (type(none), none.dtype) == (type(one), one.dtype)
            assert none.shape == (0, *one.shape[1:])


def test_chunks_cover_everything_once() -> None:
    parts = [list(range(10))[part] for part in chunks(10, 4)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
