"""`fit`: a table and the name of its target are all that is needed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from mlpx.errors import InputError, refuse_unknown
from mlpx.tables.classifier import TableClassifier
from mlpx.tables.leaks import leaks
from mlpx.tables.reading import read_table
from mlpx.tables.regressor import TableRegressor
from mlpx.tables.table import as_table, require_columns
from mlpx.tables.target import Target, present

ESTIMATORS: dict[str, type[TableClassifier] | type[TableRegressor]] = {
    "classification": TableClassifier,
    "regression": TableRegressor,
}


def fit(
    table: Any, *, target: str, task: str = "auto", drop: Iterable[str] = (), **options: Any
) -> TableClassifier | TableRegressor:
    """The estimator that has learnt to predict the column `target` from the others.

    table: as `TableClassifier` takes it, or a file or folder that `read_table` reads. task:
    "classification", "regression", or "auto" to tell by the values. drop: columns to leave out.
    options: parameters of the estimator. Rows without a target are left out. Only the validation
    rows are held out of the training; no rows are kept for a test. What was decided is in
    `history_.notes`; a column that gives the target away is warned of.

    Raises InputError, InputTypeError, UnknownOptionError or DataError.
    """
    is_path = isinstance(table, str | os.PathLike)
    rows, drop = read_table(table) if is_path else as_table(table, name="table"), list(drop)
    require_columns(rows, [target, *drop])
    if target in drop:
        raise InputError(f"the target {target!r} is among the columns to drop")
    rows = rows.drop_columns(drop)
    found = Target.fit(rows[target], task=task, name=target)
    estimator = ESTIMATORS[found.task]
    refuse_unknown(options, estimator.__init__, estimator.__name__)
    there = present(rows[target])
    if not there.all():
        rows = rows.filter(pa.array(there))
    told = leaks(rows, target)
    for sentence in told:
        warnings.warn(sentence, UserWarning, stacklevel=2)
    y = found.encode(rows[target])
    y = found.decode(y) if found.task == "classification" else found.restore(y)
    made = estimator(**options)._fit(rows.drop_columns([target]), y, name=target)
    made.history_.notes += [*found.notes, *told]
    return made
