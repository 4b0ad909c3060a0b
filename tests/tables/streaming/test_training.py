"""Training on a stream is training on its rows in its order; it goes on anywhere, to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from mlpx import MLP  # noqa: E402
from mlpx.errors import CheckpointError, DataError, InputError  # noqa: E402
from mlpx.tables.encoder import Encoder  # noqa: E402
from mlpx.tables.streaming.encoded import EncodedStream  # noqa: E402
from mlpx.tables.streaming.stream import ParquetStream  # noqa: E402
from mlpx.tables.target import Target  # noqa: E402

Write = Callable[..., Path]
BATCH, BUFFER, ROWS = 8, 32, 203


def numbers(first: int, count: int) -> Any:
    return np.sin(np.arange(first, first + count) * 0.7)


def colours(first: int, count: int) -> Any:
    return pa.array([("red", "green", None)[i * i % 3] for i in range(first, first + count)])


def labels(first: int, count: int) -> Any:
    return pa.array([("no", "yes", "maybe")[i % 7 % 3] for i in range(first, first + count)])


@pytest.fixture
def path(write: Write) -> Path:
    return write(100, 60, 43, group=25, a=numbers, colour=colours, label=labels)


def table_of(stream: ParquetStream) -> Any:
    tables = list(stream)
    stream.set_epoch(0)
    return pa.concat_tables(tables)


def parts_of(path: Path, **options: Any) -> tuple[ParquetStream, Encoder, Target]:
    options = {"buffer_rows": BUFFER, "lanes": 3, **options}
    stream = ParquetStream(path, **options)
    table = table_of(ParquetStream(path, **options))
    encoder = Encoder.fit(table.drop_columns(["label"]))
    return stream, encoder, Target.fit(table["label"], name="label")


def opened(path: Path, *, memory_bytes: int | None = None, **options: Any) -> EncodedStream:
    return EncodedStream(*parts_of(path, **options), memory_bytes=memory_bytes)


def net(width: int, *layers: Any, **options: Any) -> MLP:
    return MLP([width, *(layers or (6, "tanh", 3))], seed=3, **options)


def fitted(rows: EncodedStream, model: MLP | None = None, **options: Any) -> tuple[MLP, Any]:
    model = model or net(rows.encoder.width)
    options = {"batch_size": BATCH, "epochs": 2, "verbose": 0, **options}
    return model, model.fit(rows, None, **options)


def same(ours: MLP, theirs: MLP) -> None:
    assert ours.parameters
    for name, value in ours.parameters.items():
        np.testing.assert_array_equal(value, theirs.parameters[name], err_msg=name)


@pytest.mark.parametrize("engine", ["interpreter", "native"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_the_same_rows_in_memory(path: Path, engine: str, dtype: str) -> None:
    """200 of the rows, so that batches of all epochs can follow each other in one."""
    stream, encoder, target = parts_of(path)
    stream = stream.without(np.array([3, 99, 202]))
    tables = [table for _ in range(3) for table in stream]
    stream.set_epoch(0)
    rows = EncodedStream(stream, encoder, target)
    ours, history = fitted(rows, net(encoder.width, dtype=dtype), engine=engine, epochs=3)
    theirs = net(encoder.width, dtype=dtype)
    whole = pa.concat_tables(tables)
    x, y = encoder.encode(whole), target.encode(whole["label"])
    expected = theirs.fit(
        x, y, batch_size=BATCH, epochs=1, verbose=0, engine=engine, shuffle=False
    )  # fmt: skip
    same(ours, theirs)
    np.testing.assert_array_equal(history.step_loss, expected.step_loss)
    assert history.engine == engine
    assert history.samples == 600


def test_an_epoch_with_a_ragged_batch(path: Path) -> None:
    rows = opened(path)
    ours, history = fitted(rows, epochs=1)
    table = table_of(rows.stream)
    x, y = rows.encoder.encode(table), rows.target.encode(table["label"])
    theirs = net(rows.encoder.width)
    expected = theirs.fit(x, y, batch_size=BATCH, epochs=1, verbose=0, shuffle=False)
    same(ours, theirs)
    np.testing.assert_array_equal(history.step_loss, expected.step_loss)
    assert len(history.step_loss) == -(-ROWS // BATCH)


@pytest.mark.parametrize("name", ["cuda", "interpreter"])
def test_on_a_device(path: Path, fake_cupy: Any, name: str) -> None:
    rows = opened(path)
    ours, history = fitted(rows, net(rows.encoder.width, device="cuda"), engine=name)
    theirs, expected = fitted(rows, engine="interpreter")
    assert history.engine == name
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=2e-5)
    for key, value in theirs.parameters.items():
        found = ours.backend.to_numpy(ours.parameters[key])
        np.testing.assert_allclose(found, value, rtol=1e-3, atol=1e-5)


def test_values_as_targets(write: Write) -> None:
    stream = ParquetStream(write(64, group=16, a=numbers, y=numbers), buffer_rows=32, lanes=2)
    table = table_of(stream)
    target = Target.fit(table["y"], name="y", task="regression")
    encoder = Encoder.fit(table.drop_columns(["y"]))
    model = MLP([encoder.width, 8, "tanh", 1], loss="mean_squared_error", seed=1)
    history = model.fit(
        EncodedStream(stream, encoder, target), None, epochs=60, batch_size=8, verbose=0
    )
    assert history.epochs[-1]["loss"] < 0.05 < history.epochs[0]["loss"]


def test_a_last_row_that_is_too_few_for_a_layer(path: Path) -> None:
    """Statistics over a batch need two rows: the last one is merged into the batch before."""
    stream, encoder, target = parts_of(path)
    stream = stream.without(np.array([1, 2]))
    assert len(stream) % BATCH == 1
    short = EncodedStream(stream.cut(buffer_rows=BATCH), encoder, target)
    with pytest.raises(InputError, match=r"201 rows in batches of 8 leave 1, and the .* need 2"):
        fitted(short, net(encoder.width, 6, "batch_norm", 3))
    for buffer_rows in (50, 60, 200):
        rows = EncodedStream(stream.cut(buffer_rows=buffer_rows), encoder, target)
        _, history = fitted(rows, net(encoder.width, 6, "batch_norm", "relu", 3), epochs=1)
        assert len(history.step_loss) == 201 // BATCH
        assert history.samples == 201


# Rows kept on the disk.


def test_cached_rows_are_the_same(path: Path, tmp_path: Path) -> None:
    """The files are read once, though they are trained on in each of three epochs."""
    ours, history = fitted(opened(path), epochs=3)
    rows = EncodedStream(*parts_of(path), cache=tmp_path)
    read = []
    before = ParquetStream._lane
    with pytest.MonkeyPatch.context() as patch:

        def noted(stream: ParquetStream, span: Any, **options: Any) -> Any:
            read.append(span)
            return before(stream, span, **options)

        patch.setattr(ParquetStream, "_lane", noted)
        theirs, expected = fitted(rows, epochs=3)
    same(ours, theirs)
    np.testing.assert_array_equal(history.step_loss, expected.step_loss)
    assert len(read) == len(rows.stream.files.groups)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_caching_goes_on_in_the_middle(path: Path, tmp_path: Path) -> None:
    """Row groups that were begun before are decoded once more."""
    ours, _ = fitted(opened(path), epochs=3)
    for options in ({"steps": 30, "epochs": None}, {"epochs": 3, "resume": True}):
        rows = EncodedStream(*parts_of(path), cache=tmp_path)
        theirs, _ = fitted(rows, checkpoint=tmp_path / "run", **options)
    same(ours, theirs)


def test_a_disk_that_is_full(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.tables.streaming import cache

    ours, _ = fitted(opened(path), epochs=3)
    left, write = [5], cache._write

    def full(*given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        write(*given)

    monkeypatch.setattr(cache, "_write", full)
    with pytest.warns(UserWarning, match="no more rows are kept in cache = .*No space left"):
        theirs, _ = fitted(EncodedStream(*parts_of(path), cache=tmp_path), epochs=3)
    same(ours, theirs)


def test_caches_that_cannot_be(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cache = .*absent' is no folder to write to"):
        fitted(EncodedStream(*parts_of(path), cache=tmp_path / "absent"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="has 1,000 bytes free and the encoded rows take 4,060"):
        fitted(EncodedStream(*parts_of(path), cache=tmp_path))


# Resuming.


def stopped_after(path: Path, folder: Path, steps: int, **options: Any) -> None:
    fitted(opened(path, **options), epochs=None, steps=steps, checkpoint=folder, every=1000)


@pytest.mark.parametrize("steps", [1, 4, 6, 25, 26, 29, 51])
def test_goes_on_after_any_step(path: Path, tmp_path: Path, steps: int) -> None:
    """A buffer has 4 steps and an epoch 26: the first, a middle and the last step of each."""
    engine = "interpreter" if steps % 2 else "native"
    ours, whole = fitted(opened(path), epochs=None, steps=60, engine=engine)
    part = fitted(
        opened(path), epochs=None, steps=steps, checkpoint=tmp_path / "run", engine=engine
    )[1]
    assert len(part.step_loss) == steps
    theirs, history = fitted(
        opened(path), epochs=None, steps=60, checkpoint=tmp_path / "run", resume=True,
        engine=engine,
    )  # fmt: skip
    same(ours, theirs)
    np.testing.assert_array_equal(history.step_loss, whole.step_loss)


def test_goes_on_after_a_stop_within_an_epoch(path: Path, tmp_path: Path) -> None:
    """Checkpoints that were written while it ran, and a run that broke off."""
    from mlpx.training.run import Callback, Run

    class Breaks(Callback):
        def on_steps(self, run: Run) -> None:
            if run.steps_done >= 33:
                raise RuntimeError("the power failed")

    ours, whole = fitted(opened(path))
    with pytest.raises(RuntimeError, match="the power failed"):
        fitted(opened(path), checkpoint=tmp_path / "run", every=1, callbacks=[Breaks()])
    theirs, history = fitted(opened(path), checkpoint=tmp_path / "run", resume=True)
    same(ours, theirs)
    np.testing.assert_array_equal(history.step_loss, whole.step_loss)


def test_a_second_fit_goes_on(path: Path) -> None:
    ours, _ = fitted(opened(path), epochs=2)
    theirs, _ = fitted(opened(path), epochs=1)
    fitted(opened(path), theirs, epochs=1)
    same(ours, theirs)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 1}, "x has other values"),
        ({"buffer_rows": 40}, r"buffers.shape = \(40, 3\), it was \(32, 3\)"),
        ({"lanes": 2}, r"buffers.shape = \(32, 2\)"),
    ],
)
def test_does_not_go_on_with_another_stream(
    path: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    stopped_after(path, tmp_path / "run", 5)
    with pytest.raises((InputError, CheckpointError), match=told):
        fitted(opened(path, **options), checkpoint=tmp_path / "run", resume=True)


@pytest.mark.parametrize("cached", [False, True])
def test_any_turn_of_any_epoch(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    """Also while the rows of another are being made, as when a run goes back."""
    rows = EncodedStream(*parts_of(path), cache=tmp_path if cached else None)
    model, encoded = net(rows.encoder.width), rows.encoded

    def slowly(*given: Any) -> Any:
        time.sleep(0.005)
        return encoded(*given)

    monkeypatch.setattr(rows, "encoded", slowly)
    window, feed = rows.opened(model, BATCH)
    try:
        for epoch, turn in [(0, 0), (0, 2), (1, 6), (2, 0), (0, 1), (0, 2), (0, 0), (1, 2), (0, 2)]:
            feed.order(epoch, 0)
            feed.ready(turn * BUFFER // BATCH, 1000)
            numbers = feed.cut.numbers_of(epoch, turn)
            table = feed.cut.take(numbers)
            np.testing.assert_array_equal(window.x[: len(numbers)], rows.encoder.encode(table))
            np.testing.assert_array_equal(
                window.y[: len(numbers)], rows.target.encode(table["label"])
            )
    finally:
        feed.close()


# What goes wrong.


def test_numbers_that_are_infinite_later(write: Write) -> None:
    def wrong(first: int, count: int) -> Any:
        values = np.arange(count, dtype=float)
        values[30:31] = np.inf
        return values

    right = write(60, a=numbers, label=labels, folder="right")
    _, encoder, target = parts_of(right)
    stream = ParquetStream(write(60, a=wrong, label=labels), buffer_rows=16, lanes=2)
    with pytest.raises(InputError, match=r"column 'a' has an infinite .*; counted from row \d+ of"):
        fitted(EncodedStream(stream, encoder, target))


def test_a_file_that_changes(path: Path) -> None:
    import threading

    from mlpx.training.run import Callback, Run

    class Shrinks(Callback):
        def on_epoch_end(self, run: Run, epoch: int, logs: Any) -> None:
            (path / "part-0.parquet").write_bytes(b"PAR1")

    before = threading.active_count()
    with pytest.raises(DataError, match=r"part-0.parquet changed while it was in use"):
        fitted(opened(path), epochs=5, callbacks=[Shrinks()])
    assert threading.active_count() == before


def test_no_thread_is_left(path: Path) -> None:
    import threading

    before = threading.active_count()
    fitted(opened(path), epochs=None, steps=3)
    assert threading.active_count() == before


def test_rows_of_a_loss_that_is_not_finite(path: Path) -> None:
    """They are named by their numbers among all rows of the files."""
    rows = opened(path)
    model = net(rows.encoder.width, 6, "relu", 6, "relu", 3)
    with pytest.warns(RuntimeWarning, match="the loss is (nan|inf) at step") as told:
        fitted(rows, model, optimizer="sgd", learning_rate=1e30)
    step = int(str(told[0].message).split("at step ")[1].split()[0])
    turn, at = divmod((step - 1) * BATCH, BUFFER)
    first = rows.stream.numbers_of(0, turn)[at]
    assert f"rows {first}, " in str(told[0].message)


def test_what_fit_refuses(path: Path) -> None:
    rows = opened(path)
    for options, told in [
        ({"sample_weight": np.ones(ROWS)}, "sample_weight is given with rows that take turns"),
        ({"class_weight": "balanced"}, "class_weight is given"),
        ({"validation_split": 0.1}, "validation_split is given"),
        ({"sampling": "sequential"}, "sampling is given"),
        ({"optimizer": "lbfgs"}, "works on all rows at once"),
    ]:
        with pytest.raises(InputError, match=told):
            fitted(rows, **options)
    with pytest.raises(InputError, match="y is given"):
        net(rows.encoder.width).fit(rows, np.zeros(ROWS))
    with pytest.raises(InputError, match="was built for 9"):
        fitted(rows, net(9))
    with pytest.raises(InputError, match="y has label 2"):
        fitted(rows, MLP([rows.encoder.width, 2], loss="softmax_cross_entropy"))
    with pytest.raises(InputError, match="the share of rank 1 of 2"):
        EncodedStream(rows.stream.shard(1, 2), rows.encoder, rows.target)


def test_memory_decides_on_the_buffers(path: Path) -> None:
    rows = opened(path, memory_bytes=1000)
    with pytest.raises(
        InputError, match=r"memory_bytes = 1,000 has no room .*; give ([\d,]+)"
    ) as e:
        fitted(rows)
    least = int(str(e.value).split("give ")[1].split()[0].replace(",", ""))
    few, _ = opened(path, memory_bytes=least).opened(net(rows.encoder.width), BATCH)
    assert few.room == BATCH
    many, _ = opened(path, memory_bytes=1 << 30).opened(net(rows.encoder.width), BATCH)
    assert many.room == -(-ROWS // BATCH) * BATCH
    with pytest.raises(InputError, match="memory_bytes = 0"):
        fitted(opened(path, memory_bytes=0))
