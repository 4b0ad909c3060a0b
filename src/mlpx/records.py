"""Named records of hyperparameters, and the tables in which they register themselves.

An activation, a loss, an optimizer, a schedule, an initializer and a layer are each a frozen
dataclass derived from a `Record` family. Writing the class enters it in its family's table::

    class Sigmoid(Activation, name="sigmoid"): ...

From then on `"sigmoid"`, `Sigmoid` and `Sigmoid()` mean the same wherever an activation is wanted,
and a record can be written to a model file and read back.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np

from mlpx.errors import InputError, InputTypeError, UnknownNameError, refuse_unknown

_FAMILIES: dict[str, type[Record]] = {}
_default: Callable[[Any], Any] = cache(lambda member: member())
"""The one record of a frozen class with all its defaults."""


class Record:
    """Base of every named record. A family passes `kind`, a member passes `name`."""

    kind: ClassVar[str]
    name: ClassVar[str]
    table: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, *, kind: str = "", name: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            cls.kind, cls.table = kind, {}
            _FAMILIES[kind] = cls
        if name:
            cls.name = name
            cls.table[name] = cls
        if "__post_init__" in cls.__dict__:
            cls.__post_init__ = _checked_plain(cls.__post_init__)  # type: ignore[assignment,method-assign]

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Raises UnknownOptionError for an unknown hyperparameter."""
        refuse_unknown(options, cls)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Turn NumPy's numbers into Python's, before the member's own checks.

        A NumPy float64 would make a float32 step compute in float64 and round differently, and
        JSON cannot hold it.
        """
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, field.name, value.item())

    @classmethod
    def resolve(cls, given: object) -> Self:
        """The record meant by a name, a class or an instance.

        Raises UnknownNameError for an unknown name, InputTypeError for anything else.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, type) and issubclass(given, cls):
            return cls._with_defaults(given)
        if isinstance(given, str):
            return cls._with_defaults(cls._member(given))
        raise InputTypeError(
            f"{cls.kind} is {given!r}, a {type(given).__name__}; "
            f"it must be a name or an instance, for example {next(iter(cls.table))!r}"
        )

    @classmethod
    def _with_defaults(cls, member: type[Self]) -> Self:
        own: Any = vars(member).get("__dataclass_params__")
        record: Self = _default(member) if own is not None and own.frozen else member()
        return record

    @classmethod
    def _member(cls, name: str) -> type[Self]:
        member = cls.table.get(name.strip().lower().replace("-", "_"))
        if member is None:
            raise UnknownNameError(cls.kind, name, cls.table)
        return member

    def config(self) -> dict[str, Any]:
        """The record as plain JSON values; `from_config` is the inverse."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field.name: _plain(getattr(self, field.name)) for field in fields}
        return {"kind": self.kind, "name": self.name, **values}

    @staticmethod
    def from_config(config: dict[str, Any]) -> Any:
        """The record that `config` describes.

        Raises UnknownNameError for an unknown kind or name, InputError for fields it does not have.
        """
        fields = dict(config)
        kind, name = fields.pop("kind", None), fields.pop("name", None)
        if kind not in _FAMILIES:
            raise UnknownNameError("kind of record", kind, _FAMILIES)
        member = _FAMILIES[kind]._member(str(name))
        try:
            return member(**{key: _record(value) for key, value in fields.items()})
        except TypeError as error:
            raise InputError(f"{kind} {name!r} cannot be made from {fields!r}: {error}") from None


def _checked_plain(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def make_plain_and_check(self: Record) -> None:
        Record.__post_init__(self)
        check(self)

    return make_plain_and_check


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.config()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _record(value: Any) -> Any:
    if isinstance(value, dict) and "kind" in value:
        return Record.from_config(value)
    if isinstance(value, list):
        return tuple(_record(item) for item in value)
    return value


def require(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Check a hyperparameter's range: exclusive `above` and `below`, inclusive `least` and `most`.

    Raises InputTypeError for anything but a real number, InputError (`beta1 = 1.2; it must be in
    [0, 1)`) outside the range and for NaN and infinity.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputTypeError(f"{name} = {value!r} is a {type(value).__name__}; it must be a number")
    inside = (
        (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
        and abs(value) != float("inf")
        and value == value
    )
    if not inside:
        raise InputError(
            f"{name} = {value!r}; it must be in {_interval(above, least, below, most)}"
        )


def _interval(
    above: float | None, least: float | None, below: float | None, most: float | None
) -> str:
    left = f"[{least:g}" if least is not None else f"({above:g}" if above is not None else "(-inf"
    right = f"{most:g}]" if most is not None else f"{below:g})" if below is not None else "inf)"
    return f"{left}, {right}"


def require_count(name: str, value: Any, *, least: int = 1) -> None:
    """Check a whole number; NumPy's integers count, booleans do not.

    Raises InputTypeError or InputError naming the value.
    """
    if not is_whole(value):
        raise InputTypeError(
            f"{name} = {value!r} is a {type(value).__name__}; it must be a whole number"
        )
    if value < least:
        raise InputError(f"{name} = {value!r}; it must be at least {least}")


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, Python's or NumPy's, and not a boolean."""
    if isinstance(value, bool | np.bool):  # an index too; in NumPy 2.0 so is its own
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def require_flag(name: str, value: Any) -> None:
    """Check a boolean. Raises InputTypeError naming the value."""
    if not isinstance(value, bool):
        raise InputTypeError(
            f"{name} = {value!r} is a {type(value).__name__}; it must be True or False"
        )


def require_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Check one of a few words. Raises InputError naming the value and the words."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} = {value!r}; it must be one of {list(known)}")
