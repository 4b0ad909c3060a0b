from __future__ import annotations

import gzip
import hashlib
import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mlpx.data.idx
from mlpx.data import read_idx, write_idx
from mlpx.data.gunzip import Gunzip
from mlpx.errors import DataError, DataFormatError, DataNotFoundError, InputError, InputTypeError

# 2x3 uint8: written by hand, so that reading is not only checked against our own writing
BY_HAND = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
CODES = [0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E]


def place(folder: Path, content: bytes, name: str = "x.idx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def header(code: int, *sizes: int) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)


def refused(path: Path, *parts: str, error: type[DataError] = DataFormatError) -> None:
    with pytest.raises(error) as caught:
        read_idx(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_bytes_written_by_hand(tmp_path, pack):
    x = read_idx(str(place(tmp_path, pack(BY_HAND))))
    assert x.dtype == np.uint8
    assert x.tolist() == [[1, 2, 3], [4, 5, 6]]
    x[0, 0] = 9  # writable


@pytest.mark.parametrize(("code", "dtype"), list(zip(CODES, DTYPES, strict=True)))
def test_elements_are_big_endian_on_disk_and_native_in_memory(tmp_path, code, dtype):
    values = np.array([1, 2, 100], dtype)
    x = read_idx(place(tmp_path, header(code, 3) + values.byteswap().tobytes()))
    assert x.dtype == np.dtype(dtype)
    assert x.dtype.isnative
    assert x.tolist() == [1, 2, 100]


def test_negative_values_keep_their_sign(tmp_path):
    x = read_idx(place(tmp_path, header(0x0B, 2) + b"\xff\xfe\x80\x00"))
    assert x.tolist() == [-2, -32768]


@given(
    array=hnp.arrays(
        st.sampled_from(DTYPES), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
    ),
    name=st.sampled_from(["a.idx", "a.gz"]),
)
def test_what_was_written_is_read(tmp_path_factory, array, name):
    path = tmp_path_factory.mktemp("idx") / name
    write_idx(path, array)
    found = read_idx(path)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()  # bytes: NaN equals NaN, -0 differs from 0


def test_gzip_in_two_members_is_one_content(tmp_path):
    packed = gzip.compress(BY_HAND[:7]) + gzip.compress(BY_HAND[7:])
    assert read_idx(place(tmp_path, packed)).sum() == 21


def test_the_sum_covers_header_and_elements(tmp_path):
    path = place(tmp_path, gzip.compress(BY_HAND))
    wanted = hashlib.sha256(BY_HAND).hexdigest()
    assert read_idx(path, sha256=wanted.upper()).shape == (2, 3)
    changed = BY_HAND[:-1] + b"\7"
    found = hashlib.sha256(changed).hexdigest()
    with pytest.raises(DataFormatError, match=f"{found}; wanted {wanted}"):
        read_idx(place(tmp_path, changed), sha256=wanted)
    transposed = header(8, 3, 2) + BY_HAND[12:]
    with pytest.raises(DataFormatError, match="SHA-256"):
        read_idx(place(tmp_path, transposed), sha256=wanted)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["an empty file"]),
        (b"\0\0\x08", ["only 3 bytes"]),
        (b"\x93NUMPY", ["not an IDX file", "93 4e 55 4d"]),
        (b"\0\1" + BY_HAND[2:], ["not an IDX file", "00 01"]),
        (header(0x0A, 1) + b"1", ["type code 0x0A", "0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E"]),
        (b"\0\0\x08\0" + b"1", ["0 dimensions; wanted 1 to 32"]),
        (header(8, *[1] * 33) + b"1", ["33 dimensions"]),
        (header(8, 2, 3)[:-1], ["header ends after 11 bytes", "want 12"]),
        (BY_HAND + b"\0", ["too long", "(2, 3) uint8, 18 bytes"]),
        (
            header(8, 0, 0xFFFFFFFF, 0xFFFFFFFF, 4),
            ["(0, 4294967295, 4294967295, 4)", "more than can be addressed"],
        ),
    ],
)
def test_refuses_content_that_is_not_idx(tmp_path, content, parts, pack):
    refused(place(tmp_path, pack(content)), *parts)


def test_refuses_a_plain_file_that_is_too_short(tmp_path):
    refused(place(tmp_path, BY_HAND[:-1]), "(2, 3) uint8, 18 bytes", "holds at most 17")


def test_refuses_gzip_content_that_is_too_short(tmp_path):
    refused(place(tmp_path, gzip.compress(BY_HAND[:-1])), "too short", "18 bytes", "found 17")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_hostile_header_is_refused_before_allocation(tmp_path, pack, monkeypatch):
    def never(*args):
        pytest.fail(f"allocated {args}")

    monkeypatch.setattr(mlpx.data.idx.np, "empty", never)
    hostile = header(0x0E, 2**20, 2**20) + b"\0" * 64
    refused(place(tmp_path, pack(hostile)), "(1048576, 1048576) float64", "8796093022220 bytes")


def test_more_than_fits_into_memory_is_a_format_error(tmp_path, monkeypatch):
    def full(*args):
        raise MemoryError

    monkeypatch.setattr(mlpx.data.idx.np, "empty", full)
    refused(place(tmp_path, BY_HAND), "(2, 3) uint8", "does not fit into memory")


def test_a_decompression_bomb_is_not_unpacked(tmp_path):
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(BY_HAND)
    for _ in range(64):
        bomb += packer.compress(bytes(1 << 20))
    path = place(tmp_path, bomb + packer.flush())
    tracemalloc.start()
    try:
        refused(path, "too long")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 << 20


def test_a_bomb_is_left_after_a_buffer(tmp_path, monkeypatch):
    unpacked = []
    original = Gunzip.readinto

    def counted(self, target):
        got = original(self, target)
        unpacked.append(got)
        return got

    monkeypatch.setattr(Gunzip, "readinto", counted)
    refused(place(tmp_path, gzip.compress(BY_HAND + bytes(64 << 20))), "too long")
    assert 18 < sum(unpacked) <= 1 << 18


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:5],
        lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:],  # CRC
        lambda packed: packed[:10] + b"\xff" + packed[11:],  # deflate block type
        lambda packed: packed + b"more",
    ],
    ids=["last byte", "half", "header", "crc", "deflate", "trailing"],
)
def test_refuses_damaged_gzip(tmp_path, damage):
    packed = gzip.compress(header(8, 500) + os.urandom(500))
    refused(place(tmp_path, damage(packed)), "gzip data is truncated or damaged")


def test_refuses_what_is_not_a_file(tmp_path):
    refused(tmp_path, "is a directory")
    refused(tmp_path / "none", "no such file", error=DataNotFoundError)
    refused(place(tmp_path, b"") / "below", "cannot be read", error=DataError)
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")


def test_writes_the_bytes_of_the_format(tmp_path):
    write_idx(tmp_path / "a", np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert (tmp_path / "a").read_bytes() == BY_HAND
    write_idx(tmp_path / "a", np.array([1, -2], ">i2"))
    assert (tmp_path / "a").read_bytes() == header(0x0B, 2) + b"\0\1\xff\xfe"
    write_idx(tmp_path / "a", np.asfortranarray([[1, 2], [3, 4]], np.uint8))
    assert (tmp_path / "a").read_bytes() == header(8, 2, 2) + b"\1\2\3\4"


def test_gzip_of_the_same_array_is_the_same_file(tmp_path, monkeypatch):
    write_idx(tmp_path / "a.gz", np.arange(5, dtype=np.uint8))
    monkeypatch.setattr("time.time", lambda: 1.0)
    write_idx(tmp_path / "b.gz", np.arange(5, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint16", "float16", "complex64", "U3", "O"])
def test_write_refuses_what_idx_cannot_hold(tmp_path, dtype):
    with pytest.raises(InputTypeError, match=r"array has dtype .*; IDX holds uint8, int8, int16"):
        write_idx(tmp_path / "a", np.zeros(2, dtype))
    with pytest.raises(InputError, match=r"shape \(\); IDX wants 1 to 32"):
        write_idx(tmp_path / "a", np.uint8(3))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = place(tmp_path, BY_HAND)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlpx.data.idx.os, "fsync", full)
    with pytest.raises(DataError, match=r"x\.idx cannot be written: No space left on device"):
        write_idx(path, np.zeros(4, np.uint8))
    assert [each.name for each in tmp_path.iterdir()] == ["x.idx"]
    assert path.read_bytes() == BY_HAND


def test_write_into_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_idx(tmp_path / "no" / "a", np.zeros(4, np.uint8))
