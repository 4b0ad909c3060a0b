"""Model files made to harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile.formats import FORMATS, describing, parted, sealed
from safetensors.numpy import load as tensors_of

from mlpx import MLP
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
    "an overlap": (lambda: _with_entry(data_offsets=[12, 60]), "is not a whole safetensors file"),
    "a gap": (lambda: _valid() + b"\0\0\0\0", "is not a whole safetensors file"),
    "dimensions that overflow": (lambda: _with_entry(shape=[2**63 - 1, 2**63 - 1]), "verflow"),
    "a size of zero beside huge ones": (
        lambda: _with_entry(shape=[0, 2**62, 2**62], data_offsets=[0, 0]),
        "is not a whole safetensors file",
    ),
    "control characters": (
        lambda: _with_text(lambda text: text.replace('"0.W"', r'"\u001b[2J"', 1)),
        "its content does not match its checksum",
    ),
}


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
    assert "does not match its checksum" in answer(
        "model", sealed(json.dumps(header).encode(), data)
    )


def test_more_layers_than_a_reader_would_take_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MOST_HEADER_BYTES", 3000)
    MLP([4, 3]).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"would take [45],\d+ bytes; a file may have 3,000"):
        MLP([4, 3, 3, 3, 3, 3, 3, 3, 3, 3]).save(tmp_path / "model")
    assert MLP.load(tmp_path / "model").widths == [4, 3]


def test_weights_are_not_drawn_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix of 4000 x 4000 that claims to be orthogonal would take half a minute."""
    model = MLP([4, 3], initializer="orthogonal")
    model.save(tmp_path / "model")
    monkeypatch.setattr(Orthogonal, "sample", lambda *_: pytest.fail("drawn"))
    assert np.array_equal(MLP.load(tmp_path / "model").flat, model.flat)


def test_what_is_no_file_is_not_opened(irregular: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{irregular.name} is not a whole safetensors"):
        MLP.load(irregular)
