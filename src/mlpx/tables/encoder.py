"""From the columns of a table to the matrix that a network reads, fitted on the training rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, InputError, InputTypeError, MlpxError
from mlpx.records import require_one_of
from mlpx.tables.columns import Column
from mlpx.tables.columns.category import ONE_HOT
from mlpx.tables.kinds import find
from mlpx.tables.scaling import Plain, Quantile, Robust, Scaling, Standard
from mlpx.tables.table import require_columns, text_names

SCALINGS: dict[str, tuple[type[Scaling], type[Scaling]]] = {
    "robust": (Robust, Robust),
    "quantile": (Quantile, Plain),
    "standard": (Standard, Plain),
}
"""How measures, and how flags, are scaled."""
BLOCK_ROWS = 1 << 16
"""So many rows are encoded at a time, which bounds the memory."""
DROPPED = "dropped"
"""Instead of a kind: the column was to be left out."""
VERSION = 1


@dataclass(frozen=True)
class LeftOut:
    """A column that is not used, and why."""

    name: str
    kind: str
    why: str


@dataclass(frozen=True)
class Encoder:
    """What was found in the columns of the training rows, and so how any rows become numbers.

    `columns`: by name, in the order of the training table. `scales`: of each number of a row, the
    measures first, then the flags. `dropped`: columns that are not used. `notes`: what was decided
    and may surprise, as sentences.
    """

    columns: dict[str, Column]
    scales: tuple[Scaling, ...]
    scaling: str = "robust"
    dropped: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        drop: Iterable[str] = (),
        kinds: Mapping[str, str] | None = None,
        scaling: str = "robust",
        one_hot: int = ONE_HOT,
    ) -> Encoder:
        """The encoder of a pyarrow.Table of training rows.

        `drop`: columns to leave out; `kinds`: the kind of columns for which it must not be guessed,
        "number", "boolean", "category" or "date"; `scaling`: "robust", "quantile" or "standard".
        `one_hot`: up to so many categories have a column each, more are coded.

        Raises InputError for names that the table does not have, for free text, for infinite
        numbers, and if no column is left.
        """
        drop, kinds = [drop] if isinstance(drop, str) else list(drop), _given_kinds(kinds)
        require_one_of("scaling", scaling, SCALINGS)
        text_names(table.column_names, "the table")
        require_columns(table, [*drop, *kinds])
        if not len(table):
            raise InputError("the table has no rows to learn from")
        encoder = _found(table, drop, kinds, scaling, one_hot)
        if not encoder.columns:
            told = "; ".join(
                f"{each.name!r}: {each.why}" for each in encoder.dropped if each.kind != DROPPED
            )
            raise InputError(f"no column is left to learn from{': ' if told else ''}{told}")
        return encoder

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that are read, in the order of the training table."""
        return tuple(self.columns)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of texts: for `read_table(texts=)`, as a few rows of them may look like
        numbers.
        """
        columns = self.columns.items()
        return tuple(name for name, column in columns if getattr(column, "of_text", False))

    @cached_property
    def continuous(self) -> int:
        """How many of the numbers, the first ones, are measures."""
        return sum(len(column.continuous) for column in self.columns.values())

    @cached_property
    def numbers(self) -> int:
        """How many numbers a row becomes, beside its codes."""
        return self.continuous + sum(len(column.flags) for column in self.columns.values())

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many codes there are in each column of codes, 0 for an unknown one included."""
        return tuple(column.size for column in self.columns.values() if column.size)

    @property
    def width(self) -> int:
        """How many columns the matrix has."""
        return self.numbers + len(self.sizes)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """What each column of the matrix is."""
        return tuple(
            f"{name}{part}"
            for of in (_measures, _flags, _codes)
            for name, column in self.columns.items()
            for part in of(column)
        )

    @cached_property
    def places(self) -> dict[str, tuple[int, ...]]:
        """The columns of the matrix that each column of the table becomes."""
        places: dict[str, list[int]] = {name: [] for name in self.columns}
        at = 0
        for of in (_measures, _flags, _codes):
            for name, column in self.columns.items():
                count = len(of(column))
                places[name] += range(at, at + count)
                at += count
        return {name: tuple(found) for name, found in places.items()}

    def encode(self, table: Any) -> np.ndarray:
        """The rows of a pyarrow.Table as numbers, float32 (n, width), C-contiguous.

        First the `numbers`, of which the first `continuous` are measures, then the codes. Columns
        are found by name, in any order; others are ignored.

        Raises InputError for a column that is missing, and for a value that a column cannot have,
        naming the column, the value and its row.
        """
        text_names(table.column_names, "the table")
        require_columns(table, self.columns)
        table = table.select(list(self.columns))
        x = np.empty((len(table), self.width), np.float32)
        for start in range(0, len(table), BLOCK_ROWS):
            block = table.slice(start, BLOCK_ROWS)
            self._fill(block, x[start : start + BLOCK_ROWS], start)
        return x

    def _fill(self, block: Any, x: np.ndarray, start: int) -> None:
        for (name, column), values in zip(self.columns.items(), block.columns, strict=True):
            encoded = column.encode(values, name=name, start=start)
            codes = [] if encoded.codes is None else [encoded.codes]
            parts = [*encoded.continuous, *encoded.flags, *codes]
            for place, part in zip(self.places[name], parts, strict=True):
                x[:, place] = self.scales[place].apply(part) if place < self.numbers else part

    def extra(self, table: Any) -> tuple[str, ...]:
        """The columns of a table that the encoder has never seen and ignores."""
        known = {*self.columns, *(each.name for each in self.dropped)}
        return tuple(name for name in table.column_names if name not in known)

    def report(self) -> list[tuple[str, str, str]]:
        """Name, kind and what was done, for each column; those that are used first."""
        told = []
        for name, column in self.columns.items():
            places = [place for place in self.places[name] if place < self.numbers]
            scaled = {self.scales[place].says(): None for place in places}
            told.append((name, column.name, "; ".join([column.says(), *scaled])))
        return told + [(each.name, each.kind, f"not used: {each.why}") for each in self.dropped]

    def config(self) -> dict[str, Any]:
        """The encoder as plain JSON values; `from_config` is the inverse, to the bit."""
        return {
            "version": VERSION,
            "scaling": self.scaling,
            "columns": [[name, column.config()] for name, column in self.columns.items()],
            "scales": [scale.config() for scale in self.scales],
            "dropped": [[each.name, each.kind, each.why] for each in self.dropped],
            "notes": list(self.notes),
        }

    @classmethod
    def from_config(cls, config: Any) -> Encoder:
        """The encoder that `config`, from a file that nobody vouches for, describes.

        Raises CheckpointError saying what is wrong with it.
        """
        try:
            return _checked(config)
        except CheckpointError:
            raise
        except (MlpxError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the table's encoder is damaged: {error}") from error


def _given_kinds(kinds: Any) -> dict[str, str]:
    if kinds is not None and not isinstance(kinds, Mapping):
        raise InputTypeError(f"kinds = {kinds!r}; it must be a dict from columns to kinds")
    return dict(kinds or {})


def _measures(column: Column) -> tuple[str, ...]:
    return column.continuous


def _flags(column: Column) -> tuple[str, ...]:
    return column.flags


def _codes(column: Column) -> tuple[str, ...]:
    return ("",) if column.size else ()


def _found(
    table: Any, drop: list[str], kinds: dict[str, str], scaling: str, one_hot: int
) -> Encoder:
    """The encoder of a table with rows; only one column at a time is in memory as numbers."""
    columns: dict[str, Column] = {}
    dropped: list[LeftOut] = []
    notes: list[str] = []
    measures: list[Scaling] = []
    flags: list[Scaling] = []
    measure, flag = SCALINGS[scaling]
    for name, values in zip(table.column_names, table.columns, strict=True):
        if name in drop:
            dropped.append(LeftOut(name, DROPPED, "as asked"))
            continue
        found = find(values, name=name, wanted=kinds.get(name), one_hot=one_hot)
        notes += found.notes
        if found.column is None:
            dropped.append(LeftOut(name, found.kind, found.why))
            notes.append(f"column {name!r} is not used: {found.why}")
            continue
        columns[name] = found.column
        encoded = found.column.encode(found.values, name=name)
        measures += [measure.fit(z) for z in encoded.continuous]
        flags += [flag.fit(z) for z in encoded.flags]
    return Encoder(columns, (*measures, *flags), scaling, tuple(dropped), tuple(notes))


def _checked(config: Any) -> Encoder:
    if not isinstance(config, dict) or config.get("version") != VERSION:
        raise CheckpointError(f"the table's encoder is not of version {VERSION}")
    require_one_of("scaling", config["scaling"], SCALINGS)
    columns: dict[str, Column] = {}
    for name, described in config["columns"]:
        column = _record(described, Column)
        if not isinstance(name, str) or name in columns:
            raise CheckpointError(f"the table's encoder has a column {name!r} that cannot be")
        columns[name] = column
    scales = tuple(_record(described, Scaling) for described in config["scales"])
    dropped = tuple(LeftOut(*_texts(each, 3)) for each in config["dropped"])
    made = Encoder(columns, scales, config["scaling"], dropped, tuple(_texts(config["notes"])))
    if not columns or len(scales) != made.numbers:
        raise CheckpointError(
            f"the table's encoder has {len(scales)} scales for {made.numbers} numbers of "
            f"{len(columns)} columns"
        )
    return made


def _record(described: Any, family: Any) -> Any:
    if not isinstance(described, dict) or described.get("kind") != family.kind:
        raise CheckpointError(f"the table's encoder has {family.kind} {described!r}")
    return family.from_config(described)


def _texts(given: Any, count: int | None = None) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise CheckpointError("the table's encoder has notes that are no texts")
    if count is not None and len(given) != count:
        raise CheckpointError(f"the table's encoder has {len(given)} texts instead of {count}")
    return given
