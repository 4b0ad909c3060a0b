"""Activations as records: docstrings, ranges, and the initializer of each."""

from __future__ import annotations

import re
from dataclasses import fields
from math import inf, nan
from pathlib import Path

import pytest
from activation_cases import CASES, NAMES, make

import mlpx
from mlpx import Dense, Layer
from mlpx.engines.lowering.formulas import HEADER, codes
from mlpx.errors import InputError, InputTypeError
from mlpx.kernels.activations import Activation, LeakyReLU, PReLU
from mlpx.kernels.initializers import Initializer
from mlpx.records import Record

PACKAGE = Path(mlpx.__file__).parent


@pytest.mark.parametrize("name", NAMES)
def test_record_is_complete(name: str) -> None:
    f = Activation.table[name]
    assert f.keeps in ("input", "output")
    assert f.initializer in Initializer.table
    assert "f" in (f.__doc__ or "")
    assert "Source:" in (f.__doc__ or "") or name == "identity"


def known_to(record: type[Record]) -> list[Path]:
    """The files that the last paragraph of a docstring names, `Known to: ...`."""
    *_, last = (record.__doc__ or "").split("\n\n")
    assert last.strip().startswith("Known to: "), record.__name__
    return [PACKAGE / name for name in re.findall("`([^`]+)`", last)]


@pytest.mark.parametrize("name", NAMES)
def test_record_names_the_files_that_know_it(name: str) -> None:
    files = known_to(Activation.table[name])
    assert (HEADER in files) == (name in codes("activation"))
    for file in files:
        names = (name, Activation.table[name].__name__)
        assert any(re.search(rf"\b{word}\b", file.read_text()) for word in names), file


def test_layers_name_the_files_that_know_them() -> None:
    for layer in Layer.table.values():
        assert all(file.is_file() for file in known_to(layer)), layer.__name__


@pytest.mark.parametrize(("name", "values"), CASES)
def test_config_round_trip(name: str, values: dict[str, float]) -> None:
    f = make(name, values)
    assert Record.from_config(f.config()) == f


RANGES = [
    (name, field.name)
    for name in NAMES
    for field in fields(Activation.table[name])
]  # fmt: skip
WRONG: dict[tuple[str, str], list[float]] = {
    ("leaky_relu", "slope"): [-0.1, 1.1],
    ("elu", "alpha"): [-0.1],
    ("celu", "alpha"): [0.0, -1.0],
    ("prelu", "slope"): [],
}


@pytest.mark.parametrize(("name", "field"), RANGES)
def test_hyperparameters_are_checked(name: str, field: str) -> None:
    for value in (nan, inf, -inf, *WRONG[name, field]):
        with pytest.raises(InputError, match=rf"{field} = {value!r}; it must be in"):
            make(name, {field: value})
    with pytest.raises(InputTypeError, match=f"{field} = 'a'"):
        Activation.table[name](**{field: "a"})


RECTIFIERS = "relu relu6 leaky_relu prelu elu celu silu gelu gelu_tanh mish".split()  # noqa: SIM905
RULES = dict.fromkeys(RECTIFIERS, "he_normal") | {"selu": "lecun_normal"}


@pytest.mark.parametrize("name", NAMES)
def test_dense_takes_the_activations_rule(name: str) -> None:
    rule = Initializer.resolve(RULES.get(name, "glorot_uniform"))
    assert Dense(3, activation=name).initializer == rule


def test_leaky_relu_says_what_takes_a_negative_slope() -> None:
    assert "PReLU" in (LeakyReLU.__doc__ or "")
    assert PReLU(-0.5).keeps == "input"
