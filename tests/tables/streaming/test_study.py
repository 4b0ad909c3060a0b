"""One pass finds what `Encoder.fit` and `Target.fit` find of all rows, or of a sample of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from mlpx.errors import InputError  # noqa: E402
from mlpx.tables.columns import Category, Date, Number  # noqa: E402
from mlpx.tables.encoder import Encoder  # noqa: E402
from mlpx.tables.streaming import facts  # noqa: E402
from mlpx.tables.streaming.stream import ParquetStream  # noqa: E402
from mlpx.tables.streaming.study import Study, study  # noqa: E402
from mlpx.tables.target import Target  # noqa: E402

Write = Callable[..., Path]
N = 400


def drawn(seed: int) -> Callable[[int, int], Any]:
    def make(first: int, count: int) -> Any:
        return np.random.default_rng(seed).normal(size=N)[first : first + count]

    return make


def gaps(first: int, count: int) -> Any:
    """One value is missing, in row 333."""
    return pa.array([None if i == 333 else float(i % 17) for i in range(first, first + count)])


def texts(first: int, count: int) -> Any:
    return pa.array([f"t{i % 13}" if i % 50 else None for i in range(first, first + count)])


def days(first: int, count: int) -> Any:
    start = np.datetime64("2024-01-01") + np.arange(first, first + count)
    return pa.array([None if i == 17 else str(start[i]) for i in range(count)])


def flags(first: int, count: int) -> Any:
    return pa.array([None if i == 201 else i % 3 == 0 for i in range(first, first + count)])


def labels(first: int, count: int) -> Any:
    return pa.array(["no" if i % 5 else "yes" for i in range(first, first + count)])


COLUMNS = {"a": drawn(1), "gaps": gaps, "text": texts, "day": days, "flag": flags, "y": labels}


@pytest.fixture
def path(write: Write) -> Path:
    return write(150, 150, 100, group=64, **COLUMNS)


def found(path: Path, *, target: str = "y", **options: Any) -> Study:
    return study(ParquetStream(path, buffer_rows=64), target=target, **options)


def whole(path: Path) -> Any:
    return pa.concat_tables(table for _, table in ParquetStream(path).in_order())


@pytest.mark.parametrize("scaling", ["robust", "quantile", "standard"])
@pytest.mark.parametrize("sample_rows", [N, 1 << 17])
def test_of_a_table_that_fits_to_the_bit(path: Path, scaling: str, sample_rows: int) -> None:
    table = whole(path)
    encoder, target, stream, validation = found(path, scaling=scaling, sample_rows=sample_rows)
    assert encoder == Encoder.fit(table.drop_columns(["y"]), scaling=scaling)
    assert target == Target.fit(table["y"], name="y")
    assert (len(stream), validation) == (N, None)


def test_drop_and_kinds(path: Path) -> None:
    table, options = whole(path), {"drop": ["a", "day"], "kinds": {"gaps": "category"}}
    table = table.drop_columns(["y"])
    assert found(path, **options, one_hot=20).encoder == Encoder.fit(table, **options, one_hot=20)
    for sample_rows in (N, 50):
        encoder = found(path, **options, sample_rows=sample_rows).encoder
        expected = Encoder.fit(table, **options)
        assert encoder.dropped == expected.dropped
        assert encoder.columns["gaps"] == expected.columns["gaps"]
        assert set(encoder.columns) == set(expected.columns)


def test_of_a_sample(path: Path) -> None:
    """What is missing, the range, categories and classes are exact."""
    encoder, target, _, _ = found(path, sample_rows=100)
    expected = Encoder.fit(whole(path).drop_columns(["y"]))
    assert target == Target.fit(whole(path)["y"], name="y")
    for name in ("text", "flag"):
        assert encoder.columns[name] == expected.columns[name]
    assert encoder.output_names == expected.output_names
    for name in ("gaps", "day"):
        ours, theirs = encoder.columns[name], expected.columns[name]
        assert isinstance(ours, Number | Date)
        assert isinstance(theirs, Number | Date)
        assert ours.missing == theirs.missing > 0
        at = encoder.output_names.index(f"{name} is missing")
        assert encoder.scales[at].config()["factor"] == expected.scales[at].config()["factor"] > 0
    assert "of 400 rows" in encoder.notes[0]
    a = encoder.columns["a"]
    assert isinstance(a, Number)
    assert a != expected.columns["a"]
    z = np.sort(np.random.default_rng(1).normal(size=N))
    assert abs(np.searchsorted(z, a.median) / N - 0.5) < 1 / np.sqrt(100)


def test_extremes_are_in_the_sample(write: Write) -> None:
    """The scale of a column whose quartiles are equal is that of its range."""

    def rare(first: int, count: int) -> Any:
        z = np.zeros(count)
        z[[i for i in range(count) if first + i in (123, 321)]] = (-3.0, 5.0)[first > 200]
        return z

    path = write(200, 200, rare=rare, a=drawn(2), y=labels)
    encoder = found(path, sample_rows=20).encoder
    expected = Encoder.fit(whole(path).drop_columns(["y"]))
    at = encoder.places["rare"][0]
    assert encoder.scales[at] == expected.scales[at]


def test_values_as_targets(write: Write) -> None:
    path = write(250, 150, a=drawn(1), y=lambda first, count: drawn(3)(first, count) * 7 + 1e4)
    expected = Target.fit(whole(path)["y"], name="y")
    target = found(path, sample_rows=60).target
    assert (target.low, target.high) == (expected.low, expected.high)
    assert target.mean == pytest.approx(expected.mean, rel=1e-14)
    assert target.std == pytest.approx(expected.std, rel=1e-12)
    assert target.task == "regression"


def test_a_class_that_is_rare(write: Write) -> None:
    def rare(first: int, count: int) -> Any:
        return pa.array(["c" if i == 377 else "ab"[i % 2] for i in range(first, first + count)])

    assert found(write(N, a=drawn(1), y=rare), sample_rows=20).target.classes == ("a", "b", "c")


def test_rows_without_a_target(write: Write) -> None:
    def some(first: int, count: int) -> Any:
        return pa.array([None if i % 9 == 4 else "ab"[i % 2] for i in range(first, first + count)])

    path = write(N, a=drawn(1), y=some)
    table = whole(path)
    table = table.filter(table["y"].is_valid())
    encoder, target, stream, _ = found(path)
    assert encoder == Encoder.fit(table.drop_columns(["y"]))
    assert target == Target.fit(whole(path)["y"], name="y")
    assert len(stream) == len(table)
    assert sorted(n for t in stream for n in t["number"].to_pylist()) == table["number"].to_pylist()


def test_rows_held_out(path: Path) -> None:
    encoder, _, stream, validation = found(path, validation_share=0.1)
    held = set(validation["number"].to_pylist())
    assert len(held) == 40
    left = [n for table in stream for n in table["number"].to_pylist()]
    assert sorted([*held, *left]) == list(range(N))
    parts = [sum(n // 40 == part for n in held) for part in range(10)]
    assert parts == [4] * 10
    table = whole(path)
    kept = table.filter(pa.array([n not in held for n in table["number"].to_pylist()]))
    assert encoder == Encoder.fit(kept.drop_columns(["y"]))


def test_texts_that_are_no_numbers_later(write: Write) -> None:
    """A sample of numbers alone must not make the training stop at the one that is none."""

    def nearly(first: int, count: int) -> Any:
        return pa.array(["n. a." if i == 377 else str(i / 7) for i in range(first, first + count)])

    path = write(N, a=drawn(1), nearly=nearly, y=labels)
    encoder = found(path, sample_rows=20).encoder
    column = encoder.columns["nearly"]
    assert isinstance(column, Number)
    assert (column.tolerant, column.missing) == (True, 1)
    assert any("1 of its texts are none" in note for note in encoder.notes)
    encoder.encode(whole(path))


def test_many_categories(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent ones are kept though most are seen once and forgotten."""

    def many(first: int, count: int) -> Any:
        rows = range(first, first + count)
        return pa.array([f"often {i % 8}" if i % 2 else f"once {i}" for i in rows])

    path = write(N, group=20, many=many, a=drawn(1), y=labels)
    from mlpx.tables.columns import category

    monkeypatch.setattr(category, "MOST", 12)
    monkeypatch.setattr(facts, "MOST_TEXTS", 20)
    encoder = found(path, sample_rows=90).encoder
    column = encoder.columns["many"]
    assert isinstance(column, Category)
    assert len(column.values) == 12
    assert {f"often {i}" for i in (1, 3, 5, 7)} <= set(column.values)
    assert any("was not counted exactly" in note for note in encoder.notes)


def test_bounded_by_memory(path: Path) -> None:
    assert "of 400 rows" in found(path, memory_bytes=40_000).encoder.notes[0]


def test_what_is_refused(write: Write, path: Path) -> None:
    for options, told in [
        ({"target": "z"}, "no column 'z'"),
        ({"drop": ["z"]}, "no column 'z'"),
        ({"kinds": {"z": "number"}}, "no column 'z'"),
        ({"validation_share": 1.0}, "validation_share = 1"),
        ({"sample_rows": 1}, "sample_rows = 1"),
        ({"task": "ranking"}, "task"),
        ({"scaling": "none"}, "scaling"),
        ({"target": "text", "task": "regression"}, "text"),
    ]:
        with pytest.raises(InputError, match=told):
            found(path, **options)
    none = write(30, folder="none", a=drawn(1), y=lambda _, count: pa.nulls(count, pa.string()))
    with pytest.raises(InputError, match="'y' has no values in the 30 rows"):
        found(none)
    with pytest.raises(InputError, match="in every row"):
        found(write(30, folder="one", a=drawn(1), y=lambda _, count: pa.array(["x"] * count)))


@pytest.mark.parametrize("column", ["a", "y"])
def test_infinite_numbers(write: Write, column: str) -> None:
    def wrong(first: int, count: int) -> Any:
        return np.where(np.arange(first, first + count) == 177, np.inf, drawn(1)(first, count))

    path = write(150, 100, **{"a": drawn(1), "y": drawn(2), column: wrong})
    told = f"column '{column}' has an infinite number in row 27 of .*part-1.parquet"
    with pytest.raises(InputError, match=told):
        found(path, sample_rows=10)
