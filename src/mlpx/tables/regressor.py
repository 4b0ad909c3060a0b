"""`TableRegressor`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, column_or_1d

from mlpx.errors import InputError, known_options
from mlpx.kernels.losses import Loss, Quantile
from mlpx.tables.base import BaseTable
from mlpx.tables.given import as_host
from mlpx.tables.rows import Rows
from mlpx.tables.saved import TableModel
from mlpx.tables.target import Target


class TableRegressor(RegressorMixin, BaseTable):  # type: ignore[misc]
    """A regressor for tables as they are: numbers, categories, dates, with missing values.

    Its parameters are those of `TableClassifier` except `class_weight` and `calibrated`. The best
    epoch is the one with the smallest squared error, or pinball loss, on the rows held out; values
    are predicted within the range of the training rows.

    quantiles: numbers in (0, 1), ascending, such as (0.05, 0.5, 0.95), to learn those instead of
    the mean; `predict` gives the one nearest 0.5. intervals: True for `predict_interval`, whose
    intervals are as wide as the errors on the validation rows say.
    """

    _task, _asks = "regression", "intervals"

    @known_options
    def __init__(
        self, preset: Any = "auto", *, epochs: int | None = None, batch_size: int | None = None,
        learning_rate: float | None = None, hidden_layer_sizes: Any = None,
        early_stopping: bool = True, validation_fraction: float = 0.15, scaling: str = "robust",
        kinds: Any = None, quantiles: Any = None, intervals: bool = False,
        random_state: Any = None, device: Any = None, n_threads: int | None = None,
        verbose: Any = False,
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
        if np.asarray(y).dtype.kind in "mM":
            raise InputError(
                f"y is of type {np.asarray(y).dtype}; wanted numbers, such as days since a date"
            )
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

    def _loss(self) -> Loss | None:
        given = self.quantiles
        if given is None:
            return None
        return Quantile(tuple(given.tolist()) if isinstance(given, np.ndarray) else given)

    def _surer(self, made: TableModel, x: np.ndarray, held: Rows) -> TableModel:
        return made.with_intervals(x, held.y)

    def predict(self, X: Any) -> np.ndarray:
        """The value of each row (n,): of quantiles the one nearest 0.5, the lower of two."""
        table = self._rows(X)
        return self._table.predict(table)

    def predict_quantiles(self, X: Any) -> np.ndarray:
        """The quantiles of each row (n, q), in ascending order.

        Raises InputError without the parameter `quantiles`.
        """
        table = self._rows(X)
        return self._table.predict_quantiles(table)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Two ends (n, 2) between which each row's value lies with probability `coverage`.

        The probability is over rows like the validation rows, all together, not over those of one
        kind. Without `quantiles` all intervals are as wide. Around quantiles, the outermost ones,
        they follow the rows, and are best if the share between the two is about `coverage`. Raises
        InputError without the parameter `intervals`, and if there were too few validation rows.
        Source: see `mlpx.tables.calibration.Conformal`.
        """
        table = self._rows(X)
        return self._table.predict_interval(table, coverage=coverage)
