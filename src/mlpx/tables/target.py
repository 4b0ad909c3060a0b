"""The column to predict: classes or values, as a network's targets and back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.errors import CheckpointError, InputError, MlpxError
from mlpx.records import require, require_count, require_one_of
from mlpx.tables.columns.number import read_numbers
from mlpx.tables.columns.values import (
    LARGEST,
    floats_of,
    is_number,
    is_text,
    row_named,
    shown,
    texts_of,
    type_of,
    whole,
)
from mlpx.untrusted import brief

Task = Literal["classification", "regression"]
TASKS = ("auto", "classification", "regression")
FEW_CLASSES, SMALL_RANGE = 20, 100
"""Whole numbers are classes if there are few different ones and they are near each other."""
MOST_CLASSES = 10_000
TINY = 1e-100
"""Values with a standard deviation below it are all the same."""
SHOWN = 5
VERSION = 1

Label = str | int | float | bool


@dataclass(frozen=True)
class Target:
    """What is predicted: one of `classes`, in order, or a value.

    Values are standardised for training: (y - mean) / std over the training rows, in which they
    were within [low, high]. `missing`: how many rows had no target. `notes`: what was decided, as
    sentences.
    """

    task: Task
    name: str
    classes: tuple[Label, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0
    missing: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_one_of("task", self.task, TASKS[1:])
        for name in ("mean", "low", "high"):
            require(name, getattr(self, name), least=-LARGEST, most=LARGEST)
        require("std", self.std, above=0.0, most=LARGEST)
        require_count("missing", self.missing, least=0)
        if self.task == "classification":
            _check_classes(self.classes)

    @classmethod
    def fit(cls, column: Any, *, task: str = "auto", name: str = "target") -> Target:
        """The target that a pyarrow column of training rows is. `task`: "classification",
        "regression", or "auto" to tell them apart by the values.

        Raises InputError if all values are missing, if all are the same, for infinite values, for
        texts that are to be values, and for more classes than can be learnt.
        """
        require_one_of("task", task, TASKS)
        column = _usable(column, name)
        there = present(column)
        if not there.any():
            raise InputError(f"the target {name!r} has no values in the {len(there):,} rows")
        missing = int((~there).sum())
        notes: tuple[str, ...] = ()
        if missing:
            s = "s" if missing > 1 else ""
            notes = (f"{missing:,} row{s} without a target {name!r} left out",)
        kept = column.filter(pa.array(there))
        if task == "auto":
            task, why = _task_of(kept, name)
            notes = (*notes, why)
        if task == "classification":
            classes = _classes_of(kept, name)
            return cls("classification", name, classes, missing=missing, notes=notes)
        y = _values(kept, name)
        low, high = float(y.min()), float(y.max())
        mean, std = float(y.mean()), float(y.std())
        if low == high or std < TINY:
            raise _single(name, f"{low:g}")
        return cls("regression", name, (), mean, std, low, high, missing, notes)

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one for two classes and for values."""
        return len(self.classes) if len(self.classes) > 2 else 1

    def encode(self, column: Any) -> np.ndarray:
        """The index of each row's class, int64 (n,), or the standardised values, float64 (n,).

        Raises InputError for a row without a target and for a class that is not among the known.
        """
        column = _usable(column, self.name)
        there = present(column)
        if not there.all():
            row = int((~there).argmax())
            raise InputError(
                f"the target {self.name!r} has no value in {row_named(row)}; leave such rows out"
            )
        if self.task == "regression":
            z: np.ndarray = (_values(column, self.name) - self.mean) / self.std
            return z
        return self._indices(column)

    def _indices(self, column: Any) -> np.ndarray:
        if isinstance(self.classes[0], int | float) and not isinstance(self.classes[0], bool):
            values = _values(column, self.name)
            at = np.searchsorted(self.labels, values)
            indices = np.where(self.labels.take(at, mode="clip") == values, at, -1)
        else:
            texts = texts_of(column)
            known = pa.array([text_of(label) for label in self.classes], pa.large_string())
            found = pc.fill_null(pc.index_in(texts.different, value_set=known), -1)
            indices = found.to_numpy(zero_copy_only=False).astype(np.int64)[texts.rows]
        if (indices < 0).any():
            row = int((indices < 0).argmax())
            raise InputError(
                f"the target {self.name!r} has {shown(column[row])} in {row_named(row)}, which is "
                f"none of the classes: {_listed(self.classes)}"
            )
        return indices

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """The labels of class indices (n,), as the data has them."""
        labels: np.ndarray = self.labels[indices]
        return labels

    @property
    def labels(self) -> np.ndarray:
        """The classes as an array: texts as objects, numbers and booleans as such."""
        if any(isinstance(label, str) for label in self.classes):
            return np.array(self.classes, object)
        return np.array(self.classes)

    def restore(self, z: np.ndarray, *, clamp: bool = False) -> np.ndarray:
        """The values y that standardised ones z are, float64; `clamp`: within the training's."""
        y: np.ndarray = np.asarray(z, np.float64) * self.std + self.mean
        return np.clip(y, self.low, self.high) if clamp else y

    def says(self) -> str:
        """What it is, in words."""
        if self.task == "classification":
            return f"{len(self.classes)} classes: {_listed(self.classes)}"
        return f"values from {self.low:g} to {self.high:g}, mean {self.mean:g}"

    def config(self) -> dict[str, Any]:
        """The target as plain JSON values; `from_config` is the inverse."""
        return {
            "version": VERSION,
            "task": self.task,
            "name": self.name,
            "classes": list(self.classes),
            **{name: getattr(self, name) for name in NUMBERS},
            "missing": self.missing,
            "notes": list(self.notes),
        }

    @classmethod
    def from_config(cls, config: Any) -> Target:
        """The target that `config`, from a file that nobody vouches for, describes.

        Raises CheckpointError saying what is wrong with it.
        """
        if not isinstance(config, dict) or config.get("version") != VERSION:
            raise CheckpointError(f"the table's target is not of version {VERSION}")
        try:
            numbers = {name: config[name] for name in NUMBERS}
            name, classes, notes = config["name"], config["classes"], config["notes"]
            if not isinstance(name, str) or not isinstance(classes, list):
                raise CheckpointError("the table's target has a name or classes that cannot be")
            if not isinstance(notes, list) or not all(isinstance(each, str) for each in notes):
                raise CheckpointError("the table's target has notes that are no texts")
            return cls(
                config["task"], name, tuple(classes), **numbers, missing=config["missing"],
                notes=tuple(notes),
            )  # fmt: skip
        except CheckpointError:
            raise
        except (MlpxError, KeyError, TypeError) as error:
            raise CheckpointError(f"the table's target is damaged: {error}") from error


NUMBERS = ("mean", "std", "low", "high")


def present(column: Any) -> np.ndarray:
    """Which rows of a pyarrow column have a value, bool (n,)."""
    column = whole(column)
    if is_text(type_of(column)):
        return texts_of(column).rows >= 0
    there: np.ndarray = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        there = there & ~np.isnan(floats_of(column))
    return there


def text_of(label: Label) -> str:
    """A label as `texts_of` writes it."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def _check_classes(classes: tuple[Label, ...]) -> None:
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(f"{len(classes)} classes; there must be 2 to {MOST_CLASSES}")
    kinds = {type(label) for label in classes}
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        raise InputError("classes must be texts, numbers or booleans, all of one kind")
    ordered = cast("tuple[int, ...]", classes)
    if any(not a < b for a, b in pairwise(ordered)):
        raise InputError("classes must differ and be in order")


def _task_of(column: Any, name: str) -> tuple[str, str]:
    """The task of a column without missing values, and why, with how to say otherwise."""
    kind = type_of(column)
    classes = "the target {!r} is {}: classes (task='regression' to predict values)"
    values = "the target {!r} is {}: values (task='classification' to predict classes)"
    if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(column.type):
        what = "true or false" if pa.types.is_boolean(kind) else "text"
        return "classification", f"the target {name!r} is {what}: classes"
    y = _values(column, name)
    if (y != np.floor(y)).any():
        return "regression", values.format(name, "numbers with fractions")
    distinct, spread = len(np.unique(y)), y.max() - y.min()
    what = f"whole numbers, {distinct} different ones"
    if distinct <= 2 or (distinct <= FEW_CLASSES and spread <= SMALL_RANGE):
        return "classification", classes.format(name, what)
    return "regression", values.format(name, what)


def _usable(column: Any, name: str) -> Any:
    """The column as one array. Raises InputError for a type that no target has."""
    kind = type_of(column)
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        raise InputError(
            f"the target {name!r} is of type {brief(kind)}; wanted numbers, text or booleans"
        )
    return whole(column)


def _values(column: Any, name: str) -> np.ndarray:
    return read_numbers(column, name=name, tolerant=False)


def _classes_of(column: Any, name: str) -> tuple[Label, ...]:
    kind = type_of(column)
    if pa.types.is_boolean(kind):
        found: list[Any] = sorted(pc.unique(column).to_pylist())
    elif is_text(kind):
        found = sorted(texts_of(column).different.to_pylist())
    else:
        y = np.unique(_values(column, name))
        if pa.types.is_integer(type_of(column)) and np.abs(y).max() > 2.0**53:
            raise InputError(
                f"the target {name!r} has whole numbers beyond 2**53, which are not told apart; "
                "make text of them, if they are classes"
            )
        found = [int(each) for each in y] if (y == np.floor(y)).all() else y.tolist()
    if len(found) == 1:
        raise _single(name, repr(found[0]))
    if len(found) > MOST_CLASSES or (len(column) >= 50 and len(found) > len(column) / 2):
        raise InputError(
            f"the target {name!r} has {len(found):,} different values in {len(column):,} rows, too "
            "many for classes; task='regression' predicts values, if they are numbers"
        )
    return tuple(found)


def _single(name: str, value: str) -> InputError:
    return InputError(
        f"the target {name!r} is {brief(value)} in every row; there is nothing to learn"
    )


def _listed(classes: tuple[Label, ...]) -> str:
    more = f", ... ({len(classes)} in all)" if len(classes) > SHOWN else ""
    return brief(", ".join(map(repr, classes[:SHOWN]))) + more
