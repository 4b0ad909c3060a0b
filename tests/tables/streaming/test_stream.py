"""Every row once an epoch, in an order that the seed and the epoch give; resumed anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from mlpx.errors import (  # noqa: E402
    DataError,
    DataFormatError,
    DataNotFoundError,
    InputError,
    InputTypeError,
)
from mlpx.tables.streaming.stream import ParquetStream  # noqa: E402

Write = Callable[..., Path]


def numbers(tables: Any) -> list[list[int]]:
    return [table["number"].to_pylist() for table in tables]


def flat(tables: Any) -> list[int]:
    return list(chain(*numbers(tables)))


def opened(path: Any, **options: Any) -> ParquetStream:
    return ParquetStream(path, **{"buffer_rows": 20, "lanes": 3, **options})


def test_every_row_once_in_buffers_of_one_size(write: Write) -> None:
    stream = opened(write(50, 33, 20))
    assert len(stream) == 103
    found = numbers(stream)
    assert [len(buffer) for buffer in found] == stream.sizes == [20] * 5 + [3]
    assert sorted(chain(*found)) == list(range(103))


def test_the_order_depends_on_seed_and_epoch_alone(write: Write) -> None:
    path = write(60, 30)
    first, second = flat(opened(path)), flat(opened(path, seed=1))
    stream = opened(path)
    both = [flat(stream), flat(stream)]
    assert both[0] == first != second
    assert both[1] != first
    stream.set_epoch(1)
    assert flat(stream) == both[1]
    stream.set_epoch(0)
    assert flat(stream) == first


def test_rows_are_mixed(write: Write) -> None:
    """A buffer has rows of several row groups, and neighbours come from anywhere in it."""
    stream = opened(write(700, group=50), buffer_rows=100, lanes=5)
    for buffer in numbers(stream)[:-2]:  # at the end no row group is left to be opened
        assert len({number // 50 for number in buffer}) >= 5
        assert abs(np.corrcoef(buffer[:-1], buffer[1:])[0, 1]) < 0.4


def test_each_buffer_and_each_epoch_has_its_own_permutation(write: Write) -> None:
    stream = opened(write(60))
    drawn = [stream.permutation(epoch, buffer).tolist() for epoch in (0, 1) for buffer in range(3)]
    assert len({tuple(each) for each in drawn}) == 6


def test_row_groups_come_in_random_order(write: Write) -> None:
    stream = opened(write(200, group=10), lanes=1)
    orders = []
    for epoch in (0, 1):
        read = [part.span.group for part in stream.parts(epoch) if part.span.start == 0]
        assert sorted(read) == list(range(20)) != read
        orders.append(read)
    assert orders[0] != orders[1]


def test_no_more_row_groups_are_open_than_lanes(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlpx.tables.streaming import files

    stream, open_now, most = opened(write(300, group=10), lanes=4), 0, 0
    before = files.ParquetFiles.read

    def counted(self: Any, *given: Any, **options: Any) -> Any:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            yield from before(self, *given, **options)
        finally:
            open_now -= 1

    monkeypatch.setattr(files.ParquetFiles, "read", counted)
    assert len(flat(stream)) == 300
    assert (open_now, most) == (0, 4)


@pytest.mark.parametrize("position", [0, 1, 19, 20, 21, 59, 60, 99, 102])
def test_resumes_anywhere(write: Write, position: int) -> None:
    path = write(50, 33, 20)
    stream = opened(path)
    stream.set_epoch(3)
    whole, after = flat(stream), flat(stream)
    resumed = opened(path)
    resumed.load_state_dict({**resumed.state_dict(), "epoch": 3, "position": position})
    assert flat(resumed) == whole[position:]
    assert flat(resumed) == after


def test_state_within_the_loop(write: Write) -> None:
    path = write(103)
    stream, found, states = opened(path), [], []
    for table in stream:
        found.append(table["number"].to_pylist())
        states.append(stream.state_dict())
    assert [state["position"] for state in states] == [20, 40, 60, 80, 100, 0]
    for i, state in enumerate(states[:-1]):
        again = opened(path)
        again.load_state_dict(state)
        assert numbers(again) == found[i + 1 :]
    assert states[-1]["epoch"] == 1


def test_resuming_reads_only_row_groups_that_are_open_or_to_come(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlpx.tables.streaming import files

    stream, read = opened(write(400, group=10), lanes=2), []
    before = files.ParquetFiles.read

    def noted(self: Any, group: Any, **options: Any) -> Any:
        read.append(group)
        return before(self, group, **options)

    monkeypatch.setattr(files.ParquetFiles, "read", noted)
    stream.load_state_dict({**stream.state_dict(), "position": 380})
    assert len(flat(stream)) == 20
    assert len(read) <= 4


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("counts", [(97,), (40, 40, 20), (20, 20), (41,), (5,)])
def test_shares(write: Write, world: int, counts: tuple[int, ...]) -> None:
    path = write(*counts)
    shares = [opened(path).shard(rank, world) for rank in range(world)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len({len(share.sizes) for share in shares}) == 1
    for share in shares:
        assert [len(table) for table in share] == share.sizes
        assert max(share.sizes) <= 20
        assert min(share.sizes) > 0
        share.set_epoch(0)
    found = [flat(share) for share in shares]
    assert sorted(chain(*found)) == list(range(sum(counts)))
    for share, before in zip(shares, found, strict=True):
        assert sorted(flat(share)) == sorted(before), "the same rows in every epoch"


def test_a_share_lacks_a_row_for_its_last_buffer(write: Write) -> None:
    """41 rows: one of two ranks has 21, in two buffers; so the other has 19 and 1."""
    path = write(41)
    assert sorted(opened(path).shard(rank, 2).sizes for rank in (0, 1)) == [[19, 1], [20, 1]]


def test_rows_left_out(write: Write) -> None:
    stream = opened(write(50, 33, 20)).without(np.array([0, 7, 8, 49, 50, 102]))
    stream = stream.without(np.array([8, 60]))
    assert len(stream) == 96
    left = sorted(set(range(103)) - {0, 7, 8, 49, 50, 60, 102})
    assert sorted(flat(stream)) == left
    parts = [flat(stream.shard(rank, 3)) for rank in range(3)]
    assert sorted(chain(*parts)) == left
    assert sorted(number for rows, _ in stream.in_order() for number in rows) == left


def test_numbers_of_rows(write: Write) -> None:
    stream = opened(write(50, 33, 20)).without(np.arange(5, 30, 3))
    for epoch in (0, 1):
        for i, buffer in enumerate(numbers(stream)):
            assert stream.numbers_of(epoch, i).tolist() == buffer
    for rows, table in stream.in_order():
        assert rows.tolist() == table["number"].to_pylist()
    asked = np.array([77, 3, 102, 3, 50])
    assert stream.take(asked)["number"].to_pylist() == asked.tolist()
    assert stream.files.says(77) == f"row 27 of {stream.files.files[1].path}"


def test_categories_have_the_dictionary_of_their_file(write: Write) -> None:
    def texts(first: int, count: int) -> Any:
        return pa.array([f"t{first + i}" for i in range(count)]).dictionary_encode()

    for table in opened(write(30, 30, text=texts)):
        assert table["text"].to_pylist() == [f"t{i}" for i in table["number"].to_pylist()]


def test_some_columns(write: Write) -> None:
    path = write(30, a=lambda first, count: np.ones(count))
    stream = ParquetStream(path, columns=["a"])
    assert stream.schema.names == ["a"]
    assert next(iter(stream)).column_names == ["a"]


def test_one_file_and_several(write: Write) -> None:
    path = write(30, 12)
    assert len(ParquetStream(path / "part-1.parquet")) == 12
    assert len(ParquetStream([str(path / "part-1.parquet"), path])) == 54


def test_large_row_groups_and_one_row(write: Write) -> None:
    assert flat(ParquetStream(write(1))) == [0]
    found = flat(ParquetStream(write(100, group=1000, folder="large"), buffer_rows=30, lanes=50))
    assert sorted(found) == list(range(100))
    assert found != sorted(found)


# What it refuses.


def test_refused_arguments(write: Write) -> None:
    path = write(30)
    for options, told in [
        ({"buffer_rows": 0}, "buffer_rows = 0"),
        ({"lanes": 0}, "lanes = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"columns": ["numbr"]}, "did you mean 'number'"),
    ]:
        with pytest.raises(InputError, match=told):
            ParquetStream(path, **options)
    for options, told in [
        ({"lanes": 2.5}, "lanes = 2.5"),
        ({"columns": "number"}, "wanted a list of names"),
    ]:
        with pytest.raises(InputTypeError, match=told):
            ParquetStream(path, **options)
    with pytest.raises(InputTypeError, match="paths holds 3"):
        ParquetStream(3)
    with pytest.raises(InputError, match="paths is empty"):
        ParquetStream([])
    stream = ParquetStream(path)
    for rank, world, told in [(2, 2, "rank = 2"), (-1, 2, "rank = -1"), (0, 0, "world = 0")]:
        with pytest.raises(InputError, match=told):
            stream.shard(rank, world)
    with pytest.raises(InputError, match="already the share of rank 0 of 2"):
        stream.shard(0, 2).shard(0, 2)
    with pytest.raises(InputError, match="30 rows cannot be shared among world = 31"):
        stream.shard(0, 31)
    with pytest.raises(InputError, match="beyond the 30 rows"):
        stream.without(np.array([30]))
    with pytest.raises(InputTypeError, match="wanted numbers of rows"):
        stream.without(np.array([0.5]))
    with pytest.raises(InputError, match="epoch = -1"):
        stream.set_epoch(-1)


def test_refused_files(tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataNotFoundError, match="absent"):
        ParquetStream(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match=r"has no files \*\.parquet"):
        ParquetStream(tmp_path / "empty")
    for name, content in [("text", b"a,b\n1,2\n"), ("nothing", b""), ("cut", b"PAR1" * 9)]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataFormatError, match=f"{name} is not a Parquet file"):
            ParquetStream(tmp_path / name)
    with pytest.raises(DataFormatError, match="has no rows, nor have the 1 other files"):
        ParquetStream(write(0, 0))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"number": [1.5]}, "has 'number' of type double, .* of type int64"),
        ({"other": [1]}, "has no column 'number', .* has; has a column 'other'"),
        ({"number": [1], "more": [2]}, "has a column 'more', .* has none"),
    ],
)
def test_schemas_that_differ(write: Write, table: Any, told: str) -> None:
    path = write(10)
    pq.write_table(pa.table(table), path / "part-9.parquet")
    with pytest.raises(DataFormatError, match=f"part-9.parquet {told}"):
        ParquetStream(path)


def test_columns_in_another_order(write: Write) -> None:
    path = write(10, a=lambda first, count: np.ones(count))
    pq.write_table(pa.table({"a": [2.0], "number": [10]}), path / "part-9.parquet")
    assert sorted(flat(ParquetStream(path))) == list(range(11))


def test_a_file_that_changes(write: Write) -> None:
    path = write(60, 60)
    stream = opened(path)
    flat(stream)
    changed = path / "part-1.parquet"
    os.utime(changed, ns=(1, 1))
    with pytest.raises(DataError, match=r"part-1.parquet changed while it was in use"):
        flat(stream)
    changed.unlink()
    with pytest.raises(DataError, match=r"part-1.parquet is gone"):
        flat(stream)


def test_a_file_that_shrinks_while_it_is_read(write: Write) -> None:
    stream = opened(write(3000, group=3000), buffer_rows=100)
    tables = iter(stream)
    assert len(next(tables)) == 100
    os.truncate(stream.files.files[0].path, 50)
    with pytest.raises(DataError, match="changed while it was in use"):
        list(tables)


def test_a_damaged_row_group(write: Write) -> None:
    path = write(3000, group=3000) / "part-0.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[4:400] = b"\xff" * 396
    path.write_bytes(damaged)
    with pytest.raises(DataFormatError, match="row group 0 cannot be read"):
        flat(ParquetStream(path))


def test_states_of_other_streams(write: Write) -> None:
    path = write(50, 33)
    state = opened(path).state_dict()
    for options, told in [
        ({"seed": 2}, "seed is 2, it was 0"),
        ({"lanes": 2}, "lanes is 2, it was 3"),
        ({"buffer_rows": 25}, "buffer_rows is 25, it was 20"),
    ]:
        with pytest.raises(InputError, match=told):
            opened(path, **options).load_state_dict(state)
    with pytest.raises(InputError, match="rank is 1, it was 0"):
        opened(path).shard(1, 2).load_state_dict(state)
    with pytest.raises(InputError, match="left_out is 1"):
        opened(path).without(np.array([3])).load_state_dict(state)
    other = write(50, 33, folder="other", more=lambda first, count: np.zeros(count))
    with pytest.raises(InputError, match="the files differ"):
        opened(other).load_state_dict(state)
    for broken in [{"position": 83}, {"position": -1}, {"epoch": -1}, {"epoch": "1"}]:
        with pytest.raises(InputError, match="state has"):
            opened(path).load_state_dict({**state, **broken})
    with pytest.raises(InputTypeError, match="wanted what state_dict gave"):
        opened(path).load_state_dict([1])  # type: ignore[arg-type]


def test_a_state_is_json(write: Write) -> None:
    import json

    stream = opened(write(50))
    state = json.loads(json.dumps(stream.state_dict()))
    stream.load_state_dict(state)
