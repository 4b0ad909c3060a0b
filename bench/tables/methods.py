"""What is compared: each learns from a table's training rows, and may watch its validation rows."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from bench.tables.data import Table

Outcome = tuple[np.ndarray, float, float]
"""Predictions for the test rows, and the seconds to fit and to predict."""


def mlpx(table: Table, seed: int, threads: int, *, preset: str) -> Outcome:
    from mlpx.tables import TableClassifier, TableRegressor

    kind = TableClassifier if table.has_classes else TableRegressor
    model = kind(preset=preset, random_state=seed, n_threads=threads)
    rows, held = table.x.iloc[table.train], table.x.iloc[table.validation]
    options = {"X_val": held, "y_val": table.y[table.validation]}
    return _timed(lambda: model.fit(rows, table.y[table.train], **options), model, table)


def pytabkit(table: Table, seed: int, threads: int, *, name: str) -> Outcome:
    import pytabkit

    kind = getattr(pytabkit, f"{name}_{'Classifier' if table.has_classes else 'Regressor'}")
    model = kind(random_state=seed, n_threads=threads, device="cpu", verbosity=0)
    rows = np.concatenate([table.train, table.validation])
    held = np.arange(len(table.train), len(rows))

    def fit() -> Any:
        return model.fit(table.x.iloc[rows], table.y[rows], val_idxs=held)

    return _timed(fit, model, table)


def sklearn_mlp(table: Table, seed: int, threads: int) -> Outcome:
    """scikit-learn's MLP at its defaults, but for early stopping, behind the usual preparation."""
    from sklearn.compose import ColumnTransformer, make_column_selector
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("categories", categories, make_column_selector(dtype_exclude="number")),
        ]
    )
    kind = MLPClassifier if table.has_classes else MLPRegressor
    model = make_pipeline(prepare, kind(random_state=seed, early_stopping=True, max_iter=500))
    return _on_training_rows(model, table)


def sklearn_boosting(table: Table, seed: int, threads: int) -> Outcome:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if table.has_classes else HistGradientBoostingRegressor
    model = kind(random_state=seed, categorical_features="from_dtype", early_stopping=True)
    return _on_training_rows(model, table)


def _on_training_rows(model: Any, table: Table) -> Outcome:
    """Fitted on training and validation rows: these hold out some of their own."""
    rows = np.concatenate([table.train, table.validation])
    return _timed(lambda: model.fit(table.x.iloc[rows], table.y[rows]), model, table)


def _timed(fit: Callable[[], Any], model: Any, table: Table) -> Outcome:
    started_s = time.perf_counter()
    fit()
    fitted_s = time.perf_counter()
    predicted = model.predict(table.x.iloc[table.test])
    return np.asarray(predicted).reshape(-1), fitted_s - started_s, time.perf_counter() - fitted_s


METHODS: dict[str, Callable[[Table, int, int], Outcome]] = {
    "mlpx realmlp": functools.partial(mlpx, preset="realmlp"),
    "mlpx realmlp-s": functools.partial(mlpx, preset="realmlp-s"),
    "mlpx plain": functools.partial(mlpx, preset="plain"),
    "pytabkit RealMLP_TD": functools.partial(pytabkit, name="RealMLP_TD"),
    "pytabkit RealMLP_TD_S": functools.partial(pytabkit, name="RealMLP_TD_S"),
    "scikit-learn HistGradientBoosting": sklearn_boosting,
    "scikit-learn MLP": sklearn_mlp,
}
