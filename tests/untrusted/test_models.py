"""Model files made to harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile.formats import FORMATS, describing, parted, sealed
from safetensors.numpy import load as tensors_of

from mlpx import MLP, untrusted
from mlpx.errors import CheckpointError
from mlpx.kernels.initializers import Orthogonal
from mlpx.network import checkpoint

Answer = Callable[[str, bytes], str]


@cache
def _valid() -> bytes:
    return FORMATS["model"].envelopes[0].seeds[0]


def _header() -> tuple[Any, bytes]:
    header, data = parted(_valid())
    return json.loads(header), data


def _with_text(change: Callable[[str], str]) -> bytes:
    header, data = parted(_valid())
    return sealed(change(header.decode()).encode(), data)


def _with_entry(**changes: Any) -> bytes:
    header, data = _header()
    header["0.W"] |= changes
    return sealed(json.dumps(header).encode(), data)


def _description() -> Any:
    return json.loads(_header()[0]["__metadata__"]["mlpx"])


def _described(text: str) -> bytes:
    return describing(*_header(), tensors_of(_valid()))(text.encode())


CONTAINERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an array twice": (
        lambda: _with_text(lambda text: text.replace('"0.W"', '"0.W":{},"0.W"', 1)),
        "an object has '0.W' twice",
    ),
    "the description twice": (
        lambda: _with_text(lambda text: text.replace('"mlpx"', '"mlpx":"","mlpx"', 1)),
        "an object has 'mlpx' twice",
    ),
    "a header longer than the file": (
        lambda: (5 << 20).to_bytes(8, "little") + _valid()[8:],
        "it claims a header of 5,242,880 bytes",
    ),
    "a header of 2**63": (
        lambda: (1 << 63).to_bytes(8, "little") + b"{}",
        "it claims a header of 9,223,372,036,854,775,808 bytes",
    ),
    "a header of 9 MB": (lambda: sealed(b"{" + b" " * (9 << 20) + b"}", b""), "it claims a header"),
    "brackets": (lambda: sealed(b'{"a":[' + b"[]," * 500_000, b""), "500,002 objects and lists"),
    "a deep header": (lambda: sealed(b'{"a":' * 50_000, b""), "nested too deeply"),
    "an empty file": (lambda: b"", "it has 0 bytes"),
    "a list": (lambda: sealed(b"[]", b""), "its header is no object"),
    "an overlap": (lambda: _with_entry(data_offsets=[12, 60]), "'0.W' is at 12 to 60"),
    "a gap": (lambda: _with_entry(data_offsets=[4, 52]), "'0.W' is at 4 to 52 of its data"),
    "an end before the begin": (lambda: _with_entry(data_offsets=[48, 0]), "'0.W' is at 48 to 0"),
    "more than it describes": (lambda: _valid() + b"\0\0\0\0", "its header describes 3,"),
    "no offsets": (
        lambda: _with_text(lambda text: text.replace('"data_offsets"', '"offsets"', 1)),
        "'0.W' has no dtype, shape and two data_offsets",
    ),
    "three offsets": (lambda: _with_entry(data_offsets=[0, 48, 48]), "two data_offsets"),
    "text": (lambda: _with_entry(data_offsets=["0", "48"]), "two data_offsets"),
    "halves": (lambda: _with_entry(data_offsets=[0.0, 48.0]), "two data_offsets"),
    "truth values": (lambda: _with_entry(shape=[True, 12]), "two data_offsets"),
    "less than nothing": (lambda: _with_entry(shape=[-4, -3]), "two data_offsets"),
    "another dtype": (
        lambda: _with_entry(dtype="BF16"),
        "'0.W' has dtype BF16; wanted one of",
    ),
    "no dtype": (lambda: _with_entry(dtype=["F32"]), "'0.W' has dtype ['F32']; wanted one of"),
    "dimensions": (lambda: _with_entry(shape=[1] * 10_000), "'0.W' has 10,000 dimensions; wanted"),
    "dimensions that overflow": (
        lambda: _with_entry(shape=[2**63 - 1, 2**63 - 1]),
        "'0.W' is at 0 to 48 of its data; wanted 340,282,366,920,938",
    ),
    "a size of zero beside huge ones": (
        lambda: _with_entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0]),
        "is not a whole safetensors file",
    ),
    "control characters": (
        lambda: _with_text(lambda text: text.replace('"0.W"', r'"\u001b[2J"', 1)),
        r"unexpected ['\x1b[2J']",
    ),
    "neither true nor false": (
        lambda: _described_with(flags=np.array([0, 1, 2], np.uint8).view(bool)),
        "'beside/0' has truth values other than 0 and 1",
    ),
}


def _described_with(**beside: Any) -> bytes:
    model = MLP([4, 3])
    return checkpoint.content(model, np.asarray(model.flat), None, beside=beside).to_bytes()


@pytest.mark.parametrize("case", CONTAINERS)
def test_a_container(case: str, answer: Answer) -> None:
    make, told = CONTAINERS[case]
    assert told in answer("model", make())


def _deep(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"kind": "layer", "name": "residual", "layers": [value]}
    return value


DESCRIPTIONS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "digits": (("model", "seed"), 10**400, "a number of 401 digits"),
    "depth": (("model", "layers"), [4, _deep("relu", 99)], "nested more than 100 deep"),
    "long kind": (("model", "loss"), {"kind": "x" * 10**6}, "is not a known kind of record"),
    "long name": (("model", "layers"), [4, {"kind": "layer", "name": "\x1b" * 10**6}], "known"),
    "long dtype": (("model", "dtype"), "f4," * 10**5, "must be one of ['float32', 'float64']"),
    "big-endian": (("model", "dtype"), ">f4", "must be one of ['float32', 'float64']"),
    "engine": (("training", "optimizer"), {"kind": "engine", "name": "cuda"}, "is CudaEngine()"),
    "step": (("training", "step"), 2**60, "step = 1152921504606846976; it must be in"),
    "drawn": (("training", "drawn"), 2**63, "drawn = 9223372036854775808; it must be in"),
    "total": (("training", "total"), -5, "total = -5; it must be at least 0"),
    "begin": (("training", "begin"), "7", "begin = '7' is a str"),
    "sampling": (("training", "pace"), [[], 1, 1], "sampling = []; wanted text"),
    "rows": (("training", "pace"), ["", {}, 1], "rows = {} is a dict"),
    "scale": (("training", "schedule"), {"scale": float("nan")}, "scale = nan; it must be in"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_description(case: str, answer: Answer) -> None:
    (part, name), value, told = DESCRIPTIONS[case]
    described = _description()
    described[part][name] = value
    assert told in answer("model", _described(json.dumps(described)))


def test_a_name_twice_in_the_description(answer: Answer) -> None:
    text = json.dumps(_description() | {"version": 1})
    assert "'seed' twice" in answer("model", _described(text.replace('"seed"', '"seed":1,"seed"')))


def test_many_arrays_of_nothing(answer: Answer) -> None:
    header, data = _header()
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(data)] * 2}
    header |= {f"more/{i}": empty for i in range(5000)}
    assert "and 4,990 more" in answer("model", sealed(json.dumps(header).encode(), data))


def test_an_empty_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    header, data = _header()
    offsets = [len(data), len(data) + (1 << 40)]
    header["more"] = {"dtype": "F32", "shape": [1 << 38], "data_offsets": offsets}
    path = tmp_path / "model"
    path.write_bytes(sealed(json.dumps(header).encode(), data))
    os.truncate(path, path.stat().st_size + (1 << 40))
    with pytest.raises(CheckpointError, match=r"unexpected \['more'\]"):
        MLP.load(path)


def test_more_layers_than_a_reader_would_take_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MOST_HEADER_BYTES", 3000)
    MLP([4, 3]).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"would take [45],\d+ bytes; a file may have 3,000"):
        MLP([4, 3, 3, 3, 3, 3, 3, 3, 3, 3]).save(tmp_path / "model")
    assert MLP.load(tmp_path / "model").widths == [4, 3]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([[i] for i in range(checkpoint.MOST_OBJECTS)], "objects and lists"),
        (reduce(lambda inner, _: [inner], range(100), []), "nested more than 100 deep"),
        (10**310, "a number of 311 digits"),
    ],
    ids=["many", "deep", "long"],
)
def test_what_no_reader_would_take_is_not_written(value: Any, told: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot be read again: .*{told}"):
        _described_with(value=value)


def test_more_arrays_than_a_reader_would_take_are_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "MOST_OBJECTS", 100)
    _described_with(values=[np.zeros(0)] * 10)
    with pytest.raises(CheckpointError, match=r"cannot be read again: it has 1\d\d objects"):
        _described_with(values=[np.zeros(0)] * 40)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, refuse = tmp_path / "model", untrusted._refuse_irregular
    path.write_bytes(_valid())

    def late(place: Path | int) -> None:
        refuse(place)
        if place == path:
            path.unlink()
            os.mkfifo(path)

    monkeypatch.setattr(untrusted, "_refuse_irregular", late)
    with pytest.raises(CheckpointError, match="it is not a regular file"):
        MLP.load(path)


def test_weights_are_not_drawn_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix of 4000 x 4000 that claims to be orthogonal would take half a minute."""
    model = MLP([4, 3], initializer="orthogonal")
    model.save(tmp_path / "model")
    monkeypatch.setattr(Orthogonal, "sample", lambda *_: pytest.fail("drawn"))
    assert np.array_equal(MLP.load(tmp_path / "model").flat, model.flat)


def test_what_is_no_file_is_not_opened(irregular: Path) -> None:
    told = "cannot be read: Too many" if irregular.name == "loop" else "is not a whole safetensors"
    with pytest.raises(CheckpointError, match=f"{irregular.name} {told}"):
        MLP.load(irregular)
