"""Data files made to harm: .npz archives and IDX, plain and packed."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile import examine, prepare
from hostile.formats import FORMATS, npy, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpx.cli.rows import read_rows
from mlpx.data import load_dataset, read_idx, write_idx
from mlpx.data.gunzip import FREE_BYTES, PACKED_BYTES, Gunzip, unpacked_bound
from mlpx.errors import DataFormatError

Answer = Callable[[str, bytes], str]
X, Y = npy(np.random.default_rng(0).random((50, 8))), npy(np.arange(50) % 3)
PAYLOAD = X[-50 * 8 * 8 :]


def array(
    shape: str = "(50, 8)", descr: str = "'<f8'", *, more: str = "", version: int = 1
) -> bytes:
    """An array's file with a header of its own."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + PAYLOAD


HEADERS: dict[str, tuple[bytes, str]] = {
    "60 GB": (array("(1000000000, 8)"), "declares shape (1000000000, 8) of float64, 64000000"),
    "2 GB of text": (array("(1, 1)", "'|S2000000000'"), "of |S2000000000, 20000000"),
    "2**64": (array("(4294967296, 4294967296)"), "more than can be addressed"),
    "2**64 beside 0": (array("(0, 4294967296, 4294967296)"), "more than can be addressed"),
    "10**400": (array(f"({10**400},)"), "more than can be addressed"),
    "negative": (array("(-50, -8)"), "has shape (-50, -8); wanted sizes from 0"),
    "truth": (array("(True, 8)"), "has shape (True, 8); wanted sizes from 0"),
    "smaller": (array("(50, 7)"), "more bytes follow its array"),
    "nothing in each element": (array("(1000000000000, 8)", "'<U0'"), "dtype <U0; wanted numbers"),
    "structure": (array(descr="[('a', '<f4'), ('b', '<f4')]"), "wanted numbers or text"),
    "array in each element": (array(descr="('<f8', (80000000,))"), "wanted numbers or text"),
    "objects": (array(descr="'|O'"), "is an array of Python objects, shape (50, 8), which could"),
    "objects inside": (array(descr="[('a', '|O')]"), "is an array of Python objects"),
    "code": (array("__import__('os').mkdir('made')"), "has a damaged header: malformed node"),
    "unfinished": (array("("), "has a damaged header"),
    "no hash": (array(more="[]: 1"), "has a damaged header: unhashable type"),
    "brackets": (array("(" * 1000), "has a damaged header"),
    "signs": (array("(" + "-" * 5000 + "1,)"), "has a damaged header"),
    "control characters": (array("\x1b[2J"), "has a damaged header"),
    "version": (array(version=9), "has version 9.0 of the format; wanted 1.0, 2.0 or 3.0"),
    "a header of 4 GB": (
        b"\x93NUMPY\2\0\xff\xff\xff\xff",
        "claims a header of 4,294,967,295 bytes",
    ),
    "a pickle": (pickle.dumps([1]), "is a pickle, which could run code when read"),
    "nothing": (b"", "is empty"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_of_an_array(case: str, answer: Answer, tmp_path: Path) -> None:
    content, told = HEADERS[case]
    text = answer("npz", zipped({"x_train": content, "y_train": Y}))
    assert told in text
    assert "x_train" in text
    assert not Path("made").exists()
    if case not in ("smaller", "nothing"):  # alike as a file and as a stream of rows to predict for
        for name in ("rows.npy", "rows"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DataFormatError, match=rf"{name}"):
                read_rows(tmp_path / name, columns=8)


ELEMENTS: dict[str, tuple[np.ndarray, str]] = {
    "beyond Unicode": (np.full(50, 0x110000, np.uint32).view("U1"), "text that is not Unicode"),
    "half a character": (np.full(50, 0xD800, ">u4").view(">U1"), "text that is not Unicode"),
    "truth": (np.full(50, 7, np.uint8).view(bool), "holds bytes other than 0 and 1"),
}


@pytest.mark.parametrize("case", ELEMENTS)
def test_elements_that_numpy_takes_unseen(case: str, answer: Answer) -> None:
    values, told = ELEMENTS[case]
    assert told in answer("npz", zipped({"x_train": X, "y_train": npy(values)}))


@pytest.mark.parametrize("labels", [["a", "é"], ["𝔸", ""], [b"\xff", b"a"], [True, False]])
def test_labels_of_either_byte_order_are_read(labels: list[object], answer: Answer) -> None:
    y = np.array(labels * 25)
    for dtype in (y.dtype, y.dtype.newbyteorder()):
        assert answer("npz", zipped({"x_train": X, "y_train": npy(y.astype(dtype))})) == ""


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of a name twice
        for name, member in members:
            file.writestr(name, member)
    return content.getvalue()


WHOLE = (("x_train.npy", X), ("y_train.npy", Y))


def zeros() -> bytes:
    return npy(np.zeros((FREE_BYTES, 1), np.uint8))


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "twice": (lambda: archive(*WHOLE, WHOLE[0]), "has x_train twice"),
    "twice without": (lambda: archive(*WHOLE, ("y_train", Y)), "has y_train twice"),
    "bzip2": (lambda: archive(*WHOLE, method=zipfile.ZIP_BZIP2), "compressed by method 12"),
    "lzma": (lambda: archive(*WHOLE, method=zipfile.ZIP_LZMA), "compressed by method 14"),
    "a bomb": (
        lambda: archive(("x_train.npy", zeros()), WHOLE[1], method=zipfile.ZIP_DEFLATED),
        "a file of this size holds at most 67108864, unless it is a bomb",
    ),
    "names": (lambda: archive(("\x1b[2J", b""), ("x" * 60_000, b"")), "it holds \\x1b[2J, xxx"),
    "many names": (lambda: archive(*((f"m{i}", b"") for i in range(500))), "it holds m0, m1"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive(case: str, answer: Answer) -> None:
    make, told = ARCHIVES[case]
    assert told in answer("npz", make())


def test_what_else_is_in_an_archive_is_left_alone(answer: Answer) -> None:
    """No member is ever unpacked into a file, wherever its name or its kind points to."""
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    names = ("../../escaped.npy", "/escaped.npy", "..\\escaped", "folder/", "\x1b[2J")
    content = io.BytesIO(archive(*WHOLE, *((name, b"/etc/passwd") for name in names)))
    with zipfile.ZipFile(content, "a") as file:
        file.writestr(link, "/etc/passwd")
    assert answer("npz", content.getvalue()) == ""


@pytest.mark.parametrize(
    ("offset", "value"), [(20, 2**31), (24, 2**31), (24, 10), (42, 2**31), (42, 0)]
)  # fmt: skip
def test_sizes_and_places_that_are_untrue(offset: int, value: int, answer: Answer) -> None:
    content = bytearray(archive(("more", b""), *WHOLE, method=zipfile.ZIP_DEFLATED))
    at = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1) + offset
    content[at : at + 4] = value.to_bytes(4, "little")
    told = answer("npz", bytes(content))
    # A longer packed size does no harm; some releases of Python see that it reaches into the next.
    assert "Overlapped entries" in told if told and offset == 20 else bool(told) == (offset != 20)


def header(code: int, *sizes: int) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)


def test_a_packed_array_of_zeros_beyond_the_bound(answer: Answer) -> None:
    packed = gzip.compress(header(8, FREE_BYTES) + bytes(FREE_BYTES), 1)
    told = answer("idx", packed)
    assert "holds at most 67108864, unless it is a bomb; if it is none, unpack it first" in told


@pytest.mark.parametrize(
    "behind",
    [bytes(1 << 20), b"\0", gzip.compress(b"", mtime=0)[:9], b"more"],
    ids=["zeros", "a zero", "a part of a member", "text"],
)
def test_what_stands_behind_a_gzip_member(behind: bytes, answer: Answer) -> None:
    """gzip.GzipFile skips zeros, a byte at a time."""
    content = gzip.compress(header(8, 2) + b"12")
    assert "gzip data is truncated or damaged" in answer("idx", content + behind)
    assert answer("idx", content + gzip.compress(b"")) == ""


def test_an_empty_file_of_a_terabyte_behind_a_gzip_member(tmp_path: Path) -> None:
    path = tmp_path / "data.idx"
    path.write_bytes(gzip.compress(header(8, 2) + b"12"))
    os.truncate(path, 1 << 40)
    with pytest.raises(DataFormatError, match=r"data\.idx: the gzip data is truncated or damaged"):
        read_idx(path)


@pytest.mark.parametrize("read", [load_dataset, read_idx])
def test_what_is_no_file_is_not_opened(read: Callable[[Path], object], irregular: Path) -> None:
    path = irregular.rename(irregular.with_suffix(".npz"))
    with pytest.raises(Exception, match=path.name) as caught:
        read(path)
    assert type(caught.value).__module__ == "mlpx.errors"


def test_the_bound_of_what_is_unpacked() -> None:
    assert unpacked_bound(1000) == 1_032_000
    assert unpacked_bound(100_000) == FREE_BYTES
    assert unpacked_bound(10**7) == 10**9


@settings(max_examples=25)
@given(
    pieces=st.lists(
        st.binary(max_size=50) | st.integers(0, 200_000).map(bytes), min_size=1, max_size=4
    ),
    size=st.sampled_from((100, 7777, 300_000)),
)
def test_unpacks_as_the_standard_library_does(pieces: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(piece) for piece in pieces)
    file, found = io.BufferedReader(Gunzip(io.BytesIO(packed)), PACKED_BYTES), b""
    while chunk := file.read(size):
        found += chunk
    assert found == b"".join(pieces)
    for cut in range(1, 19):  # a member has at least 20 bytes
        with pytest.raises(EOFError):
            io.BufferedReader(Gunzip(io.BytesIO(packed[:-cut])), PACKED_BYTES).read()


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool])
def test_what_is_not_packed_takes_its_own_size(dtype: type, tmp_path: Path) -> None:
    """Twice that where each element is looked at."""
    array = np.ones((1 << 22) // np.dtype(dtype).itemsize, dtype)[:, None]
    contents = {"npz": zipped({"x_train": npy(array), "y_train": npy(np.zeros(len(array), "i1"))})}
    if dtype is not bool:
        write_idx(tmp_path / "x", array)
        contents["idx"] = (tmp_path / "x").read_bytes()
    for name, content in contents.items():
        format = replace(FORMATS[name], multiple=2 if dtype is bool else 1)
        assert examine(format, content, prepare(format, tmp_path)) == ""
