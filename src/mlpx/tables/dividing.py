"""A table in three parts: rows to learn from, to validate with and to test on.

What the columns become is found in the rows to learn from alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.tables.columns.category import ONE_HOT
from mlpx.tables.columns.values import texts_of
from mlpx.tables.encoder import Encoder
from mlpx.tables.leaks import leaks
from mlpx.tables.splitting import hold_out
from mlpx.tables.table import require_columns
from mlpx.tables.target import Target, present


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table: encoded, x (n, width) and y (n,), and `groups` (n,) of rows that depend
    on each other, if there are any.
    """

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Rule:
    """How rows are held out: by chance, by groups or by time; and what is learnt of which column.

    `test` and `validation` are shares, of the rows and of those that are not for the test.
    """

    target: str
    task: str = "auto"
    drop: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0

    def check(self, table: Any) -> None:
        """Raises InputError for a column that the table does not have, or that has two roles."""
        named = [name for name in (self.group, self.time) if name is not None]
        require_columns(table, [self.target, *self.drop, *named])
        for name in (*self.drop, *named):
            if name == self.target:
                raise InputError(f"column {name!r} is the target and cannot be anything else")
        if self.group in self.drop:
            raise InputError(f"column {self.group!r} names the groups; it is left out in any case")

    def halves(self, table: Any, target: Target, *, share: float) -> tuple[Any, Any]:
        """The rows of the table, without and with the `share` that is held out; None if it is 0."""
        if not share:
            return table, None
        plain = target.task == "classification" and self.group is None and self.time is None
        strata = target.encode(table[self.target]) if plain else None
        rows = hold_out(
            table, share=share, seed=self.seed, group=self.group, time=self.time, stratify=strata
        )
        kept, held = (table.take(pa.array(part)) for part in rows)
        return kept, held


@dataclass(frozen=True, eq=False)
class Divided:
    """A table's parts, and what was found in the rows to train on."""

    encoder: Encoder
    target: Target
    train: Part
    validation: Part | None
    test: Part | None
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """What tells this division from that of other rows, or of the same in another order."""
        found = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in () if part is None else (part.x, part.y):
                found.update(f"{array.shape}".encode())
                found.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1))
        return found.hexdigest()


def divide(
    table: Any,
    rule: Rule,
    *,
    test: Any = None,
    known: tuple[Encoder, Target] | None = None,
    scaling: str = "robust",
    one_hot: int = ONE_HOT,
) -> Divided:
    """The parts of a pyarrow.Table by `rule`.

    test: another table, instead of the share. known: the encoder and the target of an earlier run,
    which are kept as they are. Rows without a target are left out.

    Raises InputError for what the encoder, the target or the rule cannot take.
    """
    rule.check(table)
    notes: list[str] = []
    whole = known[1] if known else Target.fit(table[rule.target], task=rule.task, name=rule.target)
    table = _with_target(table, rule.target)
    if test is None:
        rest, test = rule.halves(table, whole, share=rule.test)
    else:
        rest, test = table, _with_target(_also_there(test, rule.target), rule.target)
    train, validation = rule.halves(rest, whole, share=rule.validation)
    if known:
        encoder, target = known
    else:
        unused, others = _unused(rule), train.drop_columns([rule.target])
        encoder = Encoder.fit(others, drop=unused, scaling=scaling, one_hot=one_hot)
        target = _target(train, whole, rule.target)
        told = leaks(train.drop_columns(unused), rule.target)
        notes += [*whole.notes, *encoder.notes, *told]
    learnt = _part(train, encoder, target, rule.group)
    held, tested = (
        None if rows is None else _part(rows, encoder, target, rule.group)
        for rows in (validation, test)
    )
    return Divided(encoder, target, learnt, held, tested, tuple(notes))


def _with_target(table: Any, name: str) -> Any:
    there = present(table[name])
    return table if there.all() else table.filter(pa.array(there))


def _also_there(table: Any, name: str) -> Any:
    require_columns(table, [name])
    if not present(table[name]).any():
        raise InputError(f"the table has no row with a value of the target {name!r}")
    return table


def _unused(rule: Rule) -> list[str]:
    """The columns that are not learnt from: new rows are of other groups."""
    return [*rule.drop, *([] if rule.group is None else [rule.group])]


def _target(train: Any, whole: Target, name: str) -> Target:
    """The target with the classes of all rows, but the mean and spread of the training rows."""
    if whole.task == "classification":
        return whole
    found = Target.fit(train[name], task="regression", name=name)
    return replace(found, missing=whole.missing, notes=whole.notes)


def part_of(table: Any, encoder: Encoder, target: Target) -> Part:
    """The rows of another pyarrow.Table that have a target.

    Raises InputError if none has.
    """
    rows = _with_target(_also_there(table, target.name), target.name)
    return _part(rows, encoder, target, None)


def _part(table: Any, encoder: Encoder, target: Target, group: str | None) -> Part:
    groups = None
    if group is not None and group in table.column_names:
        groups = texts_of(table[group]).rows
    return Part(encoder.encode(table), target.encode(table[target.name]), groups)
