"""Records: one table a family, names that mean the same everywhere, and ranges that are checked."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Adam, Dense, Dropout, Optimizer
from mlpx.errors import (
    InputError,
    InputTypeError,
    MlpxError,
    UnknownNameError,
    UnknownOptionError,
)
from mlpx.kernels.activations import LeakyReLU
from mlpx.metrics import Metric
from mlpx.records import Record, require, require_count

FAMILIES = (MLP, Metric)
"""What loads every family of records: the models and the metrics."""


class Fruit(Record, kind="fruit of the tests"):
    """A family of the tests' own."""


@dataclass(frozen=True)
class Apple(Fruit, name="apple"):
    weight: float = 1.5
    seeds: tuple[int, ...] = (1, 2)
    graft: Any = None


@dataclass(frozen=True)
class SourPear(Fruit, name="sour_pear"):
    weight: float = 2.0


@pytest.mark.parametrize(
    "given", ["sour_pear", "Sour_Pear", " sour-pear ", SourPear, SourPear(), SourPear(2.0)]
)
def test_a_name_a_class_and_an_instance_mean_the_same(given: Any) -> None:
    assert Fruit.resolve(given) == SourPear()


def test_an_instance_is_taken_as_it_is() -> None:
    apple = Apple(3.0)
    assert Fruit.resolve(apple) is apple


@pytest.mark.parametrize("given", [3, None, int, b"kind", ["apple"]])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(InputTypeError, match=r"fruit of the tests is .*for example 'apple'"):
        Fruit.resolve(given)


def test_unknown_name_suggests() -> None:
    with pytest.raises(UnknownNameError, match="fruit of the tests; did you mean 'apple'"):
        Fruit.resolve("aple")


def test_what_can_be_changed_is_made_anew() -> None:
    class Counter(Fruit, name="counter"):
        def __init__(self) -> None:
            self.count = 0

    try:
        assert Fruit.resolve("counter") is not Fruit.resolve(Counter)
        assert Fruit.resolve("sour_pear") is Fruit.resolve(SourPear)
    finally:
        del Fruit.table["counter"]


class Basket(Fruit, name="basket"):
    """One with a way of its own to be made."""

    def __init__(self, **fruits: int) -> None:
        self.fruits = fruits


def test_unknown_hyperparameter_suggests() -> None:
    for made, told in (
        (lambda: Apple(wieght=2.0), r"Apple\(\) .*'wieght'; did you mean weight\? it has: graft"),
        (lambda: Adam(lr=0.1), r"Adam\(\) has no option 'lr'; did you mean learning_rate\?"),
        (lambda: Dropout(p=0.1), r"did you mean rate\?"),
    ):
        with pytest.raises(UnknownOptionError, match=told):
            made()
    assert str(inspect.signature(SourPear)) == "(weight: 'float' = 2.0) -> None"
    assert Basket(plums=3).fruits == {"plums": 3}


def test_config_comes_back_from_json_nested() -> None:
    apple = Apple(0.1, (3, 4, 5), SourPear(7.0))
    assert Record.from_config(json.loads(json.dumps(apple.config()))) == apple


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({}, UnknownNameError, "None is not a known kind of record"),
        ({"kind": "vegetable"}, UnknownNameError, "kind of record"),
        ({"kind": Fruit.kind}, UnknownNameError, "'None' is not a known fruit"),
        ({"kind": Fruit.kind, "name": "plum"}, UnknownNameError, "'plum' is not a known fruit"),
        ({"kind": Fruit.kind, "name": "apple", "x": 1}, InputError, "cannot be made from"),
    ],
)
def test_config_that_is_wrong(config: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Record.from_config(config)


class TestRequire:
    @pytest.mark.parametrize("value", [0, 1, 0.5, np.float64(0.5), 1e-300])
    def test_inside(self, value: Any) -> None:
        require("x", value, least=0, most=1)

    @pytest.mark.parametrize(
        ("value", "limits", "interval"),
        [
            (0, {"above": 0}, r"\(0, inf\)"),
            (-1, {"least": 0}, r"\[0, inf\)"),
            (1, {"least": 0, "below": 1}, r"\[0, 1\)"),
            (1.5, {"above": 0, "most": 1}, r"\(0, 1\]"),
            (float("nan"), {}, r"\(-inf, inf\)"),
            (float("inf"), {"above": 0}, r"\(0, inf\)"),
            (-float("inf"), {}, r"\(-inf, inf\)"),
        ],
    )
    def test_outside(self, value: float, limits: dict[str, float], interval: str) -> None:
        with pytest.raises(InputError, match=rf"rate = {value}; it must be in {interval}"):
            require("rate", value, **limits)

    @pytest.mark.parametrize("value", [True, "1", None, [1], 1j, np.ones(1)])
    def test_no_number(self, value: Any) -> None:
        with pytest.raises(InputTypeError, match=r"rate = .* it must be a number"):
            require("rate", value)


class TestRequireCount:
    @pytest.mark.parametrize("value", [1, 10**30, np.int8(3), np.uint64(2**63)])
    def test_whole_numbers(self, value: Any) -> None:
        require_count("n", value)

    def test_bounds(self) -> None:
        require_count("n", 0, least=0)
        with pytest.raises(InputError, match="n = 0; it must be at least 1"):
            require_count("n", 0)

    @pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, np.float32(2), [1]])
    def test_no_whole_number(self, value: Any) -> None:
        with pytest.raises(InputTypeError, match=r"n = .* it must be a whole number"):
            require_count("n", value)


def records() -> list[tuple[str, type[Record]]]:
    from mlpx.records import _FAMILIES

    return [
        (f"{kind}: {name}", member)
        for kind, family in _FAMILIES.items()
        for name, member in family.table.items()
    ]


def test_every_record_says_what_it_is() -> None:
    for label, member in records():
        assert (member.__doc__ or "").strip(), label
        assert member.name == member.name.lower().replace("-", "_").strip(), label
        assert member.table[member.name] is member, label


def test_records_survive_json() -> None:
    made = []
    for _, member in records():
        try:
            made.append(member())
        except (TypeError, InputError):
            continue  # needs arguments: its own tests make it
    configured = [record for record in made if dataclasses.is_dataclass(record)]
    assert len(configured) > 20
    for record in configured:
        assert Record.from_config(json.loads(json.dumps(record.config()))) == record


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_numbers_of_numpy_become_plain(number: np.generic) -> None:
    """A float64 of NumPy's would drag a float32 step up to float64; JSON knows neither."""
    for record in (Optimizer.table["sgd"](number), LeakyReLU(number), Dropout(number)):
        value = next(v for v in record.config().values() if isinstance(v, float) and v == 0.5)
        assert type(value) is float
    assert json.loads(json.dumps(LeakyReLU(number).config()))["slope"] == 0.5


def test_numpys_numbers_train_as_pythons_do() -> None:
    x, y = np.random.default_rng(1).normal(size=(20, 3)), np.arange(20) % 2
    flats = []
    for rate in (0.1, np.float64(0.1)):
        model = MLP([3, Dense(np.int64(4), activation="tanh"), 2])
        options = {"engine": "interpreter", "epochs": 3, "verbose": 0}
        model.fit(x, y, optimizer=Adam(rate, beta1=type(rate)(0.8)), **options)
        flats.append(model.flat)
    assert np.array_equal(*flats)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_flags_are_booleans(value: object) -> None:
    with pytest.raises(InputTypeError, match="bias = "):
        Dense(3, bias=value)  # type: ignore[arg-type]


NAN = float("nan")
NEEDED: dict[str, Any] = {
    "units": 5,
    "layers": ("tanh",),
    "sizes": (3,),
    "columns": 2,
    "edges": ((0, 1),),
    "values": ("a", "b"),
    "medians": (0.0,) * 5,
}
"""Fields of records that have no default."""


def number_fields() -> list[tuple[type[Record], str]]:
    """Each field of any record that is a number, a whole number, a flag or a choice."""
    return [
        (member, field.name)
        for _, member in records()
        if dataclasses.is_dataclass(member) and "tests" not in member.kind
        for field in dataclasses.fields(member)
        if {"float", "int", "bool"} & set(re.findall(r"\w+", str(field.type)))
        and "tuple" not in str(field.type)
    ]


def give(member: type[Record], name: str, value: Any) -> Record:
    needed = {f.name for f in dataclasses.fields(member) if f.default is dataclasses.MISSING}  # type: ignore[arg-type]
    return member(**{**{key: NEEDED[key] for key in needed}, name: value})


@pytest.mark.parametrize("kind", sorted({member.kind for member, _ in number_fields()}))
def test_every_number_is_held_to_its_range_by_name(kind: str) -> None:
    for member, name in number_fields():
        if member.kind == kind:
            hold_to_range(member, name)


def hold_to_range(member: type[Record], name: str) -> None:
    for value in ("x", [1], {}, np.ones(2), 1j, object(), NAN, float("inf")):
        if name == "zero_division" and value is NAN:
            continue
        with pytest.raises(MlpxError, match=rf"^{name} (=|is) .*; it must be "):
            give(member, name, value)
    for value in (-1, 0, 1, 1e9, -1e9, 10**9, True):
        said = refusal(member, name, value)
        assert re.search("^$|; (it must be |low must be|lbfgs minimises|it needs)", said)
        assert not said or name in said or name == "rate"  # Cyclic's peak is at least its rate


def refusal(member: type[Record], name: str, value: Any) -> str:
    try:
        give(member, name, value)
    except MlpxError as error:
        return str(error)
    return ""
