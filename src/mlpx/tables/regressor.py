"""`TableRegressor`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, column_or_1d

from mlpx.errors import known_options
from mlpx.tables.base import BaseTable, Rows
from mlpx.tables.given import as_host
from mlpx.tables.target import Target


class TableRegressor(RegressorMixin, BaseTable):  # type: ignore[misc]
    """A regressor for tables as they are: numbers, categories, dates, with missing values.

    Its parameters are those of `TableClassifier` except `class_weight`. The best epoch is the one
    with the smallest squared error on the rows held out; values are predicted within the range of
    the training rows.
    """

    _task = "regression"

    @known_options
    def __init__(
        self, preset: Any = "auto", *, epochs: int | None = None, batch_size: int | None = None,
        learning_rate: float | None = None, hidden_layer_sizes: Any = None,
        early_stopping: bool = True, validation_fraction: float = 0.15, scaling: str = "robust",
        kinds: Any = None, random_state: Any = None, device: Any = None,
        n_threads: int | None = None, verbose: Any = False,
    ) -> None:  # fmt: skip
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    @known_options
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Learn from the rows of X and their values y (n,); see `TableClassifier.fit`."""
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _given(self, y: Any) -> np.ndarray:
        y = column_or_1d(as_host(y), warn=True)
        values: np.ndarray = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=0
        )
        return values

    def _learn_targets(self, y: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return self._given(y), {}

    def _known_targets(self, y: Any, learnt: dict[str, Any]) -> np.ndarray:
        return self._given(y)

    def _target(self, rows: Rows, name: str, learnt: dict[str, Any]) -> Target:
        return Target.fit(pa.array(rows.y), task="regression", name=name)

    def predict(self, X: Any) -> np.ndarray:
        """The value of each row (n,)."""
        table = self._rows(X)
        return self._table.predict(table)
